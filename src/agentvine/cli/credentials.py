"""Git credentials of this host's workers: stored encrypted, listed without their secrets, removed.

They never leave this machine: the commands work on the file that the workers read, not on a server.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from agentvine.cli.command import REFUSED, Command, Json
from agentvine.cli.secret import ask_secret

if TYPE_CHECKING:
    from agentvine.domain.git_credential import CredentialBook

Pattern = Annotated[
    str, typer.Argument(metavar="PATTERN", help="A repository's address, https://host/owner/* or https://host/*.")
]
Stored = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Where they are stored; GIT_CREDENTIALS says it, too.")
]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="What opens it; GIT_CREDENTIAL_KEY_FILE says it, too."),
]
Username = Annotated[str, typer.Option("--username", metavar="NAME", help="The user name that goes with a token.")]
SshKey = Annotated[
    Path | None, typer.Option("--ssh-key", metavar="FILE", help="For ssh: the private key.", show_default=False)
]
KnownHosts = Annotated[
    Path | None, typer.Option("--known-hosts", metavar="FILE", help="For ssh: the hosts' keys.", show_default=False)
]


def _add(
    pattern: Pattern,
    username: Username = "git",
    ssh_key: SshKey = None,
    known_hosts: KnownHosts = None,
    file: Stored = None,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Store a credential. Its secret is asked for, or read from standard input.

    It goes only to the host and path that the pattern names; of several that fit, the closest is taken.
    """
    from pydantic import ValidationError

    from agentvine.domain.git_credential import GitCredential, check_pattern

    safe = _Safe(file, key_file)
    try:
        normal = check_pattern(pattern)
        fields: dict[str, object] = {"pattern": normal, "username": username}
        if ssh_key is not None or known_hosts is not None:
            places = {"ssh_key": ssh_key, "known_hosts": known_hosts}
            fields |= {name: str(path.absolute()) for name, path in places.items() if path is not None}
        elif not normal.startswith("ssh://"):
            fields["secret"] = ask_secret()
        credential = GitCredential.model_validate(fields)
    except ValidationError as error:
        _give_up("; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors(include_input=False)))
    except ValueError as error:
        _give_up(str(error))
    for path in filter(None, (ssh_key, known_hosts)):
        _must_be_a_file(path)
    safe.change(lambda book: book.having(credential))
    _tell(f"stored for {normal} in {safe.file}", {"stored": normal, "file": str(safe.file)}, as_json)


def _list(file: Stored = None, key_file: KeyFile = None, as_json: Json = False) -> None:
    """List what is stored, without the secrets."""
    safe = _Safe(file, key_file)
    stored = safe.book().credentials
    if not stored:
        print(
            f"nothing is stored in {safe.file}" + ("" if safe.file.exists() else ": there is no such file"),
            file=sys.stderr,
        )
    lines = [f"{one.pattern}  " + (f"key {one.ssh_key}" if one.ssh_key else f"user {one.username}") for one in stored]
    shown = [one.model_dump(mode="json", exclude={"secret"}, exclude_none=True) for one in stored]
    _tell("\n".join(lines), shown, as_json)


def _remove(pattern: Pattern, file: Stored = None, key_file: KeyFile = None, as_json: Json = False) -> None:
    """Remove the credential for exactly this pattern."""
    from agentvine.domain.git_credential import check_pattern

    safe = _Safe(file, key_file)
    try:
        normal = check_pattern(pattern)
    except ValueError as error:
        _give_up(str(error))
    try:
        safe.change(lambda book: book.without(normal))
    except KeyError:
        _give_up(f"nothing is stored for {normal}; `agentvine credentials list` shows what is")
    _tell(f"removed the credential for {normal}", {"removed": normal, "file": str(safe.file)}, as_json)


def _must_be_a_file(path: Path) -> None:
    if not path.is_file():
        _give_up(f"{path} is no file; git would fail at the first fetch")


def _tell(text: str, data: object, as_json: bool) -> None:
    if as_json or text:
        print(json.dumps(data, indent=2) if as_json else text)


class _Safe:
    """The sealed file and its key, as the options or the environment name them."""

    def __init__(self, file: Path | None, key_file: Path | None) -> None:
        from agentvine.cli.settings import environment
        from agentvine.kit.sealed import key_beside

        around = environment()
        named = file or around.get("GIT_CREDENTIALS")
        if not named:
            _give_up("say where credentials are stored: --file FILE, or GIT_CREDENTIALS as the workers have it")
        self.file = Path(named)
        self._key = around.get("GIT_CREDENTIAL_KEY") if key_file is None else None
        self._key_file = Path(key_file or around.get("GIT_CREDENTIAL_KEY_FILE") or key_beside(self.file))

    def book(self) -> "CredentialBook":
        """What is stored; nothing yet, where there is no file."""
        from pydantic import ValidationError

        from agentvine.domain.git_credential import CredentialBook
        from agentvine.kit.sealed import SealBroken, read_key, unseal

        if not self.file.exists():
            return CredentialBook()
        try:
            return CredentialBook.model_validate_json(unseal(self.file, self._key or read_key(self._key_file)) or b"{}")
        except SealBroken as broken:
            _give_up(str(broken))
        except ValidationError:  # its words would show what is in the file
            _give_up(f"{self.file} holds no credentials that this version understands")

    def change(self, change: "Callable[[CredentialBook], CredentialBook]") -> None:
        """Store the changed book; the first one brings its key with it."""
        from agentvine.kit.sealed import SealBroken, make_key, read_key, seal

        changed = change(self.book())
        try:
            fresh = not self._key and not self.file.exists() and not self._key_file.exists()
            key = self._key or (make_key(self._key_file) if fresh else read_key(self._key_file))
            seal(self.file, key, changed.plain())
        except SealBroken as broken:
            _give_up(str(broken))
        if fresh:
            print(f"made the key {self._key_file}: keep it apart from copies of {self.file}", file=sys.stderr)


def _give_up(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(REFUSED)


add = Command(
    "add",
    _add,
    (
        "agentvine credentials add 'https://github.com/acme/*' --file /etc/agentvine/git < token.txt",
        "agentvine credentials add git@git.example.org:acme/shop.git --ssh-key ~/.ssh/av --known-hosts ~/.ssh/known",
    ),
)
list_credentials = Command("list", _list, ("agentvine credentials list --file /etc/agentvine/git",))
remove = Command(
    "remove",
    _remove,
    ("agentvine credentials remove 'https://github.com/acme/*' --file /etc/agentvine/git",),
)
