"""Secrets come out of text in whatever form they went in; other words stay as they are."""

import base64
import json
import re
import time
from urllib.parse import quote, quote_plus

import pytest
from pydantic import JsonValue

from agentvine.kit.redaction import REDACTED, Redactor, password_of

API_KEY = "av_k3y0123456_" + "aB3-" * 10 + "xyz"
PASSWORD = "hunter2/with:odd&chars=ä"
TOKEN = "t0p-s3cret-value-0123456789"
KNOWN = (API_KEY, PASSWORD, TOKEN)
SHAPED = [
    "sk-ant-api03-" + "Ab1_" * 10,
    API_KEY,
    f"avs_{'x' * 43}_wrk_one-1",
    "ghp_" + "a1B2" * 9,
    "gho_" + "a1B2" * 9,
    "github_pat_11AAAAAAA0" + "b" * 40,
    "glpat-" + "x" * 20,
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabc\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXk\\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\ncut off in the mid",
]


@pytest.mark.parametrize("secret", SHAPED, ids=range(len(SHAPED)))
@pytest.mark.parametrize(
    "around", ["{}", "the key is {}", 'KEY="{}"', "export A={}\n", "_{}", "\x1b[31m{}\x1b[0m", "line\\n{}"]
)
def test_what_looks_like_a_secret_goes(secret: str, around: str) -> None:
    clean = Redactor().text(around.format(secret))
    assert clean.startswith(around.partition("{}")[0] + REDACTED)
    assert secret[12:24] not in clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Bearer abcdefghij0123", "Authorization: Bearer [redacted]"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', '{"authorization": "Basic [redacted]"}'),
        ("curl -H 'x-api-key: 0123456789abcdef'", "curl -H 'x-api-key: [redacted]'"),
        ("bearer abcdefghijklmnopqrstuvwxyz", "bearer [redacted]"),
        ("git clone https://user:longpassword@host/x.git", "git clone https://user:[redacted]@host/x.git"),
        ("redis://:pass@127.0.0.1:6379/0", "redis://:****@127.0.0.1:6379/0"),
    ],
)
def test_what_stands_where_secrets_stand_goes(text: str, clean: str) -> None:
    assert Redactor().text(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "sk-ant is no key, tokens are not either",
        "https://host:8080/path@v1 and user@host",
        "a bearer of news; basic tokens; authorization: none",
        "eyJust a word. eyJ.",
        "av_column_name and gh_x, glpat-short",
        "the sha is 0123456789abcdef0123456789abcdef01234567",
        "tsk_01k0123456789abcdefghjkmnp wrk_bugfix-1",
        "AKIA",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ PUBLIC KEY",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert Redactor(KNOWN).text(text) == text


def codings(secret: str) -> dict[str, str]:
    raw = secret.encode()
    return {
        "plain": secret,
        "json": json.dumps(secret),
        "json, unicode": json.dumps(secret, ensure_ascii=False),
        "url": quote(secret, safe=""),
        "url, lower": re.sub("%..", lambda escape: escape[0].lower(), quote(secret, safe="")),
        "form": quote_plus(secret),
        "base64": base64.b64encode(raw).decode(),
        "base64url": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "base64, one before": base64.b64encode(b"u" + raw + b"tail").decode(),
        "base64, two before": base64.b64encode(b"u:" + raw).decode(),
        "base64, user before": base64.b64encode(b"user:" + raw + b"\n").decode(),
        "base64, in lines": base64.encodebytes(b"some words before it, to fill a line or so: " + raw * 2).decode(),
        "base64, in a json string": json.dumps(base64.encodebytes(b"some words before it: " + raw * 4).decode()),
        "hex": raw.hex(),
    }


@pytest.mark.parametrize("secret", KNOWN)
@pytest.mark.parametrize("coding", codings(TOKEN))
def test_what_is_known_goes_in_every_form(secret: str, coding: str) -> None:
    coded = codings(secret)[coding]
    clean = Redactor(KNOWN).text(f"before {coded} after")
    assert REDACTED in clean
    assert clean.startswith("before ")
    assert clean.endswith(" after")
    left = clean.removeprefix("before ").removesuffix(" after").replace("\\n", "").replace("\n", "")
    for start in range(len(coded) - 12):
        assert coded[start : start + 12].strip('=\n"') not in left or coding.startswith("base64, in")


@pytest.mark.parametrize("secret", [API_KEY, TOKEN, "x" * 16])
def test_one_that_is_cut_in_two_comes_through_in_neither_part(secret: str) -> None:
    redactor = Redactor([secret])
    for cut in range(1, len(secret)):
        first, second = redactor.piece(f"it begins {secret[:cut]}"), redactor.piece(f"{secret[cut:]} it ends")
        assert secret not in first + second
        assert REDACTED in first + second or "********" in first + second
        assert first.startswith("it begins ")
        assert second.endswith(" it ends")


def test_json_is_cleaned_everywhere_and_never_grows() -> None:
    value: JsonValue = {TOKEN: [TOKEN, {"a": f"x {TOKEN}"}], "n": 1, "none": None}
    clean = Redactor([TOKEN]).value(value)
    assert TOKEN not in json.dumps(clean)
    assert clean == {REDACTED: [REDACTED, {"a": f"x {REDACTED}"}], "n": 1, "none": None}
    for text in (*SHAPED, "redis://:pw@h", *codings(PASSWORD).values(), "secret"):
        assert len(Redactor([*KNOWN, "secret"]).text(text)) <= len(text)


def test_what_is_too_short_is_passed_over() -> None:
    assert Redactor(["a", "", None]).text("a cat") == "a cat"


def test_a_password_in_a_url() -> None:
    assert password_of("redis://:pw@host:6379/0") == "pw"
    assert password_of("postgresql://user@host/x") is None
    assert password_of("http://[broken") is None
    assert password_of(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "eyJaaaaaaaa" * 10_000,
        "sk-ant-" * 15_000,
        "-----BEGIN PRIVATE KEY-----" * 4000,
        "authorization: bearer " * 5000,
        f"{'a' * 100}://{'b' * 100}:{'c' * 300} " * 200,
        "bearer " + " " * 100_000,
        "ghp_" * 25_000,
    ],
    ids=range(7),
)
def test_no_text_takes_long(text: str) -> None:
    """Transcripts come from programs that are not ours; a search that goes back and forth would stop the worker."""
    began = time.process_time()
    Redactor(KNOWN).piece(text)
    assert time.process_time() - began < 3
