"""What the publisher shows to a git server, and to which: never a credential to an address it was not stored for."""

import re
from dataclasses import dataclass
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, SerializationInfo, StringConstraints, field_serializer, model_validator

from agentvine.domain.base import Line, Strict
from agentvine.domain.repository import check_unquoted

_PORTS = {"http": 80, "https": 443, "ssh": 22}
_SCP_LIKE = re.compile(r"^(?:[^@/:]+@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!/)([^\s]+)$")
_PATH = r"^/[A-Za-z0-9._/@+-]*$"
_KeyPath = Annotated[str, StringConstraints(pattern=_PATH, max_length=1000)]
"""A path that can stand in a command line of ssh without a second thought."""


@dataclass(frozen=True, slots=True)
class Address:
    """A repository's address, so that two spellings of the same one are equal."""

    scheme: str
    host: str
    """With its port, if that is not the scheme's own."""
    path: str
    """Without slashes at its ends and without `.git`."""

    @classmethod
    def of(cls, url: str) -> Self:
        """The address in a URL or in `user@host:path`. Raises ValueError for one that no credential can be for."""
        check_unquoted(url)
        if "://" not in url and (found := _SCP_LIKE.match(url)):
            url = f"ssh://{found[1]}/{found[2]}"
        parts = urlsplit(url)
        scheme = parts.scheme.lower()
        if scheme not in _PORTS or not parts.hostname:
            raise ValueError("write an address that starts with https://, http:// or ssh://, or user@host:path")
        if parts.query or parts.fragment or parts.password is not None:
            raise ValueError("an address for a credential has no password, no query and no fragment")
        port = "" if parts.port in {None, _PORTS[scheme]} else f":{parts.port}"
        path = check_unquoted(parts.path).strip("/")
        if ".." in path.split("/"):
            raise ValueError("an address for a credential has no '..'")
        return cls(scheme, f"{parts.hostname.lower()}{port}", path.removesuffix(".git"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}/{self.path}"


def check_pattern(text: str) -> str:
    """`text` in its normal form. Raises ValueError, with what to write instead."""
    everything = text.endswith("/*")
    address = Address.of(text.removesuffix("/*"))
    if "*" in address.path or "*" in address.host:
        raise ValueError("'*' can only stand at the end, after a slash: https://host/owner/*")
    if not address.path:
        return f"{address.scheme}://{address.host}/*"
    return f"{address}/*" if everything else str(address)


class GitCredential(Strict):
    """A user name with a token or password for HTTP, or a key for SSH.

    `pattern` is one repository (`https://host/owner/name`), all below a path (`https://host/owner/*`) or a host
    (`https://host/*`).
    """

    pattern: Line
    username: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")] = "git"
    secret: SecretStr | None = Field(default=None, repr=False)
    ssh_key: _KeyPath | None = None
    known_hosts: _KeyPath | None = None

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        ssh = check_pattern(self.pattern).startswith("ssh://")
        if ssh and (self.ssh_key is None or self.known_hosts is None or self.secret is not None):
            raise ValueError("for ssh name a key file and the file of known hosts")
        if not ssh:
            secret = self.secret.get_secret_value() if self.secret else ""
            if not secret or not secret.isprintable() or not secret.isascii() or self.ssh_key is not None:
                raise ValueError("for http and https give a token or password, without line breaks")
        return self

    @field_serializer("secret", when_used="json")
    def _hidden(self, secret: SecretStr | None, info: SerializationInfo) -> str | None:
        if secret is None:
            return None
        return secret.get_secret_value() if (info.context or {}).get("plain") else str(secret)

    def fits(self, address: Address) -> int:
        """How well it fits: 0 not at all, more the closer the pattern comes; an exact one beats every prefix."""
        everything = self.pattern.endswith("/*")
        own = Address.of(self.pattern.removesuffix("/*"))
        if (own.scheme, own.host) != (address.scheme, address.host):
            return 0
        if not everything:
            return 100_000 if own.path == address.path else 0
        within = not own.path or address.path.startswith(f"{own.path}/")
        return 1 + len(own.path) if within else 0


class CredentialBook(Strict):
    """The credentials of one worker's host."""

    version: int = 1
    credentials: tuple[GitCredential, ...] = ()

    def best(self, url: str) -> GitCredential | None:
        """The credential that fits an address best; None if none does, or none could."""
        try:
            address = Address.of(url)
        except ValueError:
            return None
        fitting = [(one.fits(address), one) for one in self.credentials]
        closest = max(fitting, key=lambda pair: pair[0], default=(0, None))
        return closest[1] if closest[0] else None

    def having(self, credential: GitCredential) -> Self:
        """With this one, in the place of another for the same pattern."""
        others = (one for one in self.credentials if one.pattern != credential.pattern)
        return self.model_copy(update={"credentials": (*others, credential)})

    def without(self, pattern: str) -> Self:
        """Without the one for `pattern`. Raises KeyError if there is none."""
        others = tuple(one for one in self.credentials if one.pattern != pattern)
        if len(others) == len(self.credentials):
            raise KeyError(pattern)
        return self.model_copy(update={"credentials": others})

    def plain(self) -> bytes:
        """All of it as JSON, secrets in plain sight: only to be sealed."""
        return self.model_dump_json(context={"plain": True}).encode()


def understood(said: str, address: Address) -> GitCredential | None:
    """What a command says that gives credentials: lines `username=…` and `password=…`, or just the token; nothing at
    all if it knows none. Raises ValidationError for anything else."""
    lines = [line for line in said.splitlines() if line.strip()]
    if not lines:
        return None
    values = dict(line.partition("=")[::2] for line in lines)
    if "password" not in values:
        values = {"password": said.strip()}
    name = {"username": values["username"]} if values.get("username") else {}
    return GitCredential.model_validate({"pattern": str(address), "secret": values["password"], **name})
