"""Where the publisher's and the mirror's git credentials come from, and how one is handed to git.

Nobody else holds any. How git is given a token for HTTP was chosen so that it stands nowhere: not in an argument list
or an environment, which `ps` and /proc show, not in an address, which git writes into messages and configurations, not
in a file. It lies in an anonymous memory file that only the git command and its children inherit; a credential helper
(gitcredentials(7)), which is valid for this one host, reads it when the server asks. Redirects are not followed, so it
can go to no other host.
"""

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr, ValidationError

from agentvine.domain.git_credential import Address, CredentialBook, GitCredential, understood
from agentvine.kit import credential_command
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import hide
from agentvine.kit.process import ProcessNotFound, ProcessTimeout
from agentvine.kit.sealed import SealBroken, key_beside, read_key, unseal
from agentvine.worker.git_errors import GitFailed, GitTrouble

_SSH = (
    *("-o BatchMode=yes", "-o ConnectTimeout=10", "-o ServerAliveInterval=15", "-o ServerAliveCountMax=4"),
    *("-o StrictHostKeyChecking=yes", "-o ForwardAgent=no", "-o ForwardX11=no", "-o PermitLocalCommand=no"),
)
PLAIN_SSH = " ".join(("ssh", *_SSH))
"""How git starts ssh where no credential is stored: with the worker user's own configuration."""


class Credentials(Protocol):
    """Finds credentials."""

    async def of(self, url: str) -> GitCredential | None:
        """The credential for the repository at `url`, if there is one. Raises GitFailed if that cannot be found out."""
        ...


class NoCredentials:
    """For repositories that need none."""

    async def of(self, url: str) -> GitCredential | None:
        """None."""
        return None


class StoredCredentials:
    """Those in a sealed file, which `agentvine credentials` writes. Read anew each time: a change counts at once."""

    def __init__(self, file: Path, key: SecretStr | None, key_file: Path) -> None:
        self._file = file
        self._key = key
        self._key_file = key_file

    def book(self) -> CredentialBook:
        """All of them; empty if the file does not exist yet. Raises SealBroken."""
        if not self._file.exists():
            return CredentialBook()
        key = self._key.get_secret_value() if self._key else read_key(self._key_file)
        try:
            return CredentialBook.model_validate_json(unseal(self._file, key) or b"{}")
        except ValidationError:  # its words would show what is in the file
            raise SealBroken(f"{self._file} holds no credentials that this version understands") from None

    async def of(self, url: str) -> GitCredential | None:
        """As in `Credentials`."""
        try:
            return self.book().best(url)
        except SealBroken as broken:
            what = f"find the credential for {url}"
            raise GitFailed(what, None, f"fatal: {broken}", GitTrouble.AUTH_FAILED) from broken


class CommandCredentials:
    """Those that a command of the operator's gives.

    It reads what git would tell a credential helper (git-credential(1): protocol, host, path) and prints either lines
    `username=…` and `password=…`, or just the token; nothing at all if it knows none. Asked for HTTP only.
    """

    def __init__(self, argv: Sequence[str], *, timeout: float = credential_command.LONGEST) -> None:
        self._argv = list(argv)
        self._timeout = timeout

    async def of(self, url: str) -> GitCredential | None:
        """As in `Credentials`. What the command says is never told further: it may be the secret."""
        if not url.startswith(("https://", "http://")):
            return None
        address, what = Address.of(url), f"find the credential for {url}"
        try:
            done = await credential_command.ask_for_credential(
                self._argv, scheme=address.scheme, host=address.host, path=address.path, timeout=self._timeout
            )
        except ProcessTimeout as late:
            why = f"fatal: GIT_CREDENTIAL_COMMAND did not end within {self._timeout:g} s"
            raise GitFailed(what, None, why, GitTrouble.TIMEOUT) from late
        except ProcessNotFound as missing:
            raise GitFailed(what, None, f"fatal: GIT_CREDENTIAL_COMMAND: {missing}", GitTrouble.AUTH_FAILED) from None
        if done.exit_code != 0:
            why = f"fatal: GIT_CREDENTIAL_COMMAND ended with {done.exit_code}; run it by hand to see what it says"
            raise GitFailed(what, done.exit_code, why, GitTrouble.AUTH_FAILED)
        try:
            return understood(done.stdout, address)
        except ValidationError:
            why = "fatal: what GIT_CREDENTIAL_COMMAND printed is no user name and password"
            raise GitFailed(what, 0, why, GitTrouble.AUTH_FAILED) from None


class EitherCredentials:
    """The first of several sources that knows a credential."""

    def __init__(self, *sources: Credentials) -> None:
        self._sources = sources

    async def of(self, url: str) -> GitCredential | None:
        """As in `Credentials`."""
        for source in self._sources:
            if (found := await source.of(url)) is not None:
                return found
        return None


def credentials_from(
    file: Path | None, key: SecretStr | None, key_file: Path | None, command: Sequence[str]
) -> Credentials:
    """The sources that a worker was configured with; what is stored goes before the command.

    Raises ConfigurationError if the file or its key cannot be used.
    """
    sources: list[Credentials] = []
    if file is not None:
        stored = StoredCredentials(file, key, key_file or key_beside(file))
        try:
            stored.book()
        except SealBroken as broken:
            raise ConfigurationError(f"GIT_CREDENTIALS: {broken}") from broken
        sources.append(stored)
    if command:
        sources.append(CommandCredentials(command))
    return EitherCredentials(*sources)


@dataclass(frozen=True, slots=True)
class Handed:
    """What a git command is given for a credential; none of it holds the secret."""

    settings: tuple[str, ...] = ()
    """For `-c`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def handed(credential: GitCredential | None, url: str) -> Iterator[Handed]:
    """Make `credential` available to one git command for `url`, as long as the block lasts."""
    if credential is None:
        yield Handed()
    elif credential.secret is None:
        yield Handed(environment={"GIT_SSH_COMMAND": ssh_command(credential)})
    else:
        hide(credential.secret.get_secret_value())
        answer = f"username={credential.username}\npassword={credential.secret.get_secret_value()}\n"
        with os.fdopen(os.memfd_create("credential"), "w+b", 0) as file:
            file.write(answer.encode())
            yield Handed(http_settings(url, file.fileno()), descriptors=(file.fileno(),))


def http_settings(url: str, descriptor: int) -> tuple[str, ...]:
    """The settings by which git asks `descriptor`, whose content is the answer, for this URL's host and no other.

    Opened anew by its name in /proc it is read from its beginning each time, however often git asks.
    """
    address = Address.of(url)
    helper = f'!f() {{ test "$1" = get && cat /proc/self/fd/{descriptor}; }}; f'
    return ("http.followRedirects=false", f"credential.{address.scheme}://{address.host}.helper={helper}")


def ssh_command(credential: GitCredential) -> str:
    """ssh with this key and these known hosts, and nothing of the user's configuration or agent."""
    options = [
        *_SSH,
        "-F /dev/null",
        "-o IdentitiesOnly=yes",
        "-o IdentityAgent=none",
        "-o ProxyCommand=none",
        "-o GlobalKnownHostsFile=/dev/null",
        f"-o UserKnownHostsFile={shlex.quote(str(credential.known_hosts))}",
        f"-o IdentityFile={shlex.quote(str(credential.ssh_key))}",  # -i falls back on others if there is no such file
    ]
    return " ".join(("ssh", *options))


def without_secret(text: str, credential: GitCredential | None) -> str:
    """`text` without the credential's secret, should a server have sent it back."""
    if credential is None or credential.secret is None:
        return text
    return re.sub(re.escape(credential.secret.get_secret_value()), "[redacted]", text)
