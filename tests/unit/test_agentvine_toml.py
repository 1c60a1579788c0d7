import pytest

from agentvine.domain.errors import InvalidInput
from agentvine.worker.verification.agentvine_toml import parse


def test_a_line_and_a_list_are_both_commands() -> None:
    said = parse(b'[setup]\ncommand = "pip install -e ."\n[test]\ncommand = ["make", "test"]\n')
    assert said.setup is not None
    assert said.setup.command == ("sh", "-c", "pip install -e .")
    assert said.test is not None
    assert said.test.command == ("make", "test")


def test_an_empty_file_says_nothing() -> None:
    said = parse(b"")
    assert said.setup is None
    assert said.test is None


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"[test]\ncomand = 'x'\n", "/test/comand"),
        (b"[tests]\ncommand = 'x'\n", "/tests"),
        (b"[test]\ncommand = ''\n", "/test/command"),
        (b"[test]\ncommand = []\n", "/test/command"),
        (b"[test]\ncommand = [1]\n", "/test/command/0"),
        (b"[test]\ncommand = 'x'\ntimeout_seconds = 0\n", "/test/timeout_seconds"),
        (b"[test]\ncommand = 'x'\ntimeout_seconds = inf\n", "/test/timeout_seconds"),
        (b"[test]\ncommand = 'x'\njunit = '/etc/passwd'\n", "/test/junit"),
        (b"[test]\ncommand = 'x'\njunit = '../x.xml'\n", "/test"),
        (b"[test]\ncommand = 'x {junit}'\njunit = 'x.xml'\n", "/test"),
        (b"[setup]\n", "/setup/command"),
        (b"[setup]\ncommand = 'x'\nfiles = ['a']\n", "/setup"),
        (b"[setup]\ncommand = 'x'\nfiles = ['../a']\nmakes = ['b']\n", "/setup/files"),
        (b"[setup]\ncommand = 'x'\nfiles = ['a']\nmakes = ['/b']\n", "/setup/makes/0"),
        (b"[test]\ncommand = 'x'\nformat = 'xml'\n", "/test/format"),
        (b"[test]\ncommand = 'x'\ndirectory = 'a/../..'\n", "/test/directory"),
        (b"[lint]\ncommand = 'x'\ndirectory = '/'\n", "/lint/directory"),
        (b"[lint]\ncommand = 'x'\nhosts = []\n", "/lint/hosts"),
        (b"[test\n", "no TOML"),
        (b"a = " + b"[" * 30_000, "no TOML"),
        (b"a = " + b"9" * 5000, "no TOML"),
        (b"a." * 30_000 + b"a = 1", "no TOML"),
        (b"\xff\xfe", "no TOML"),
        (b"#" * 70_000, "larger than"),
    ],
)
def test_a_mistake_is_named_with_its_place(content: bytes, place: str) -> None:
    with pytest.raises(InvalidInput, match=r"\.agentvine\.toml on the base branch") as caught:
        parse(content)
    assert place in caught.value.message
