"""Evidence as a statement that anyone can check without asking anybody.

A statement is what the in-toto attestation framework calls one (https://github.com/in-toto/attestation, Statement v1):
its subject is the commit that was judged, its predicate is the evidence. It travels in a DSSE envelope
(https://github.com/secure-systems-lab/dsse, v1.0.2), signed by the server. The file is the one way to write the
envelope: of two files that differ in a single byte at most one can be good.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from agentvine.domain.evidence import Evidence

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:agentvine:evidence:v1"
LARGEST = 32 * 1024 * 1024
"""Bytes of an envelope."""

TreeEntry = tuple[str, str]
"""Mode and object of a file, as git-ls-tree(1) gives them."""


class NotGood(ValueError):
    """A file is not a statement that this key signed; the message says why."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What was stated."""

    repository: str
    commit: str
    """The commit that was judged: the result's, or the base's if there was none."""
    evidence: Evidence


def change_digest(before: Mapping[str, TreeEntry], after: Mapping[str, TreeEntry]) -> str:
    """SHA-256 over what differs between two trees, whatever git is asked and however it is set up.

    For each path that differs, in the order of its bytes: `<old mode> <old object> <new mode> <new object> TAB <path>
    NUL`, with `-` for mode and object where there is no such file.
    """
    digest = hashlib.sha256()
    paths = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    for path in sorted(paths, key=_bytes):
        old, new = before.get(path, ("-", "-")), after.get(path, ("-", "-"))
        digest.update(f"{' '.join((*old, *new))}\t".encode())
        digest.update(_bytes(path) + b"\0")
    return digest.hexdigest()


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def envelope(statement: Statement, key_id: str, sign: Callable[[bytes], bytes]) -> str:
    """The signed statement, as the file is to be: one line of ASCII. `sign` gets the bytes that DSSE says."""
    payload = _canonical(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": statement.repository, "digest": {"gitCommit": statement.commit}}],
            "predicateType": PREDICATE_TYPE,
            "predicate": statement.evidence.model_dump(mode="json"),
        }
    )
    signature = {"keyid": key_id, "sig": _base64(sign(_pre_authenticated(payload)))}
    whole = {"payload": _base64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signature]}
    return _canonical(whole).decode("ascii") + "\n"


def opened(content: bytes, key_id: str, verifies: Callable[[bytes, bytes], bool]) -> Statement:
    """What an envelope holds, if it is just what `envelope` wrote and the key `key_id` signed. Raises NotGood.

    `verifies` is asked with the signature and the bytes that must have been signed.
    """
    if len(content) > LARGEST:
        raise NotGood(f"it is larger than {LARGEST} bytes")
    payload, signature, found = _parts(content)
    if found != key_id:
        raise NotGood(f"it was signed by another key, {found[:16]}…")
    if not verifies(signature, _pre_authenticated(payload)):
        raise NotGood("the signature does not fit: it, or what it signs, was changed")
    return _statement(payload)


def _parts(content: bytes) -> tuple[bytes, bytes, str]:
    """Payload, signature and key id of an envelope."""
    try:
        whole = json.loads(content.decode("ascii"))
        (one,) = whole["signatures"]
        payload, signature = (base64.b64decode(text, validate=True) for text in (whole["payload"], one["sig"]))
        found = str(one["keyid"])
    except (UnicodeDecodeError, ValueError, RecursionError, KeyError, TypeError, binascii.Error):
        raise NotGood("it is no statement: a DSSE envelope with one signature is needed") from None
    again = {
        "payload": _base64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": found, "sig": _base64(signature)}],
    }
    if _canonical(again) + b"\n" != content:
        raise NotGood("it was changed, or written by something else: a statement has only one form")
    return payload, signature, found


def _statement(payload: bytes) -> Statement:
    """What was signed, so it comes from a server; perhaps from a newer one."""
    try:
        told = json.loads(payload)
        if told["_type"] != STATEMENT_TYPE or told["predicateType"] != PREDICATE_TYPE:
            raise NotGood(f"it states something else: {str(told['predicateType'])[:100]}")
        (subject,) = told["subject"]
        evidence = Evidence.model_validate(told["predicate"])
        return Statement(str(subject["name"]), str(subject["digest"]["gitCommit"]), evidence)
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, NotGood):
            raise
        raise NotGood("what it states cannot be read; it may come from a newer version") from None


def _pre_authenticated(payload: bytes) -> bytes:
    """DSSE's PAE: what is signed, with the type and the lengths."""
    return b" ".join([b"DSSEv1", b"%d" % len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), b"%d" % len(payload), payload])


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
