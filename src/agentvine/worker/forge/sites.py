"""Which forges a worker knows: three that everybody does, and those that its operator names in a TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator

from agentvine.domain.base import Line, Strict
from agentvine.domain.forge import ForgeKind
from agentvine.domain.git_credential import Address
from agentvine.kit.configuration import ConfigurationError

VARIABLE = "FORGES"
_LARGEST = 1024 * 1024


_BELOW = {
    ForgeKind.GITHUB: "/api/v3",  # of GitHub Enterprise; github.com has a host of its own
    ForgeKind.GITLAB: "/api/v4",
    ForgeKind.GITEA: "/api/v1",
    ForgeKind.FORGEJO: "/api/v1",
    ForgeKind.NONE: "",
}


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("write an address such as https://git.example.org")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no credentials in an address: `agentvine credentials` stores them")
    _ = parts.port  # raises ValueError for a port that is no number
    return text.rstrip("/")


WebAddress = Annotated[str, Field(max_length=500), AfterValidator(_web_address)]
_Names = Annotated[tuple[Line, ...], Field(max_length=20)]


class ForgeSite(Strict):
    """One forge. `url` is where people look at it; repositories below it are there."""

    kind: ForgeKind
    url: WebAddress
    api: WebAddress | None = None
    """Where its API is, if not at the usual place below `url`."""
    app_id: Line | None = None
    """Of a GitHub App, which then takes the place of tokens."""
    app_key_file: Path | None = None
    """Its private key, PEM."""
    labels: _Names = ("agentvine",)
    """What each pull request gets."""
    reviewers: _Names = ()
    """Who is asked to look at each."""
    draft: bool = False
    """Open them as drafts."""

    @model_validator(mode="after")
    def _app_is_whole(self) -> Self:
        if (self.app_id is None) != (self.app_key_file is None):
            raise ValueError("an app needs both app_id and app_key_file")
        if self.app_id is not None and self.kind is not ForgeKind.GITHUB:
            raise ValueError("only GitHub has apps")
        return self

    @property
    def api_address(self) -> str:
        """The address below which all calls are."""
        if self.api is not None:
            return self.api
        if self.kind is ForgeKind.GITHUB and urlsplit(self.url).hostname == "github.com":
            return "https://api.github.com"
        return self.url + _BELOW[self.kind]

    def repository_of(self, url: str) -> str | None:
        """The name that the forge gives to the repository at `url`; None if it is not one of its own.

        An address for ssh belongs to the forge on that host, whatever the port.
        """
        try:
            there = Address.of(url)
        except ValueError:
            return None
        web = urlsplit(self.url)
        if there.scheme == "ssh":
            return there.path if there.host.partition(":")[0] == (web.hostname or "").lower() else None
        here = Address.of(self.url)
        if (there.scheme, there.host) != (here.scheme, here.host):
            return None
        within = f"{here.path}/" if here.path else ""
        return there.path.removeprefix(within) if there.path.startswith(within) and there.path != within else None


class _File(Strict):
    forge: Annotated[tuple[ForgeSite, ...], Field(max_length=100)] = ()


KNOWN = (
    ForgeSite(kind=ForgeKind.GITHUB, url="https://github.com"),
    ForgeSite(kind=ForgeKind.GITLAB, url="https://gitlab.com"),
    ForgeSite(kind=ForgeKind.FORGEJO, url="https://codeberg.org"),
)


def read_forges(path: Path | None) -> tuple[ForgeSite, ...]:
    """The operator's forges, then those that everybody knows. Raises ConfigurationError with each mistake."""
    if path is None:
        return KNOWN
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{VARIABLE}: {path} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise ConfigurationError(f"{VARIABLE}: {path} is larger than {_LARGEST} bytes")
    return parse_forges(content, str(path))


def parse_forges(content: bytes, name: str) -> tuple[ForgeSite, ...]:
    """The meaning of the file called `name`, as in `read_forges`. Raises ConfigurationError."""
    try:
        told = _File.model_validate(tomllib.loads(content.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{VARIABLE}: {name} is no TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(
            *(
                f"{VARIABLE}: {name}: {'.'.join(map(str, one['loc'])) or 'the file'}: "
                f"{one['msg'].removeprefix('Value error, ')}"
                for one in error.errors(include_url=False, include_input=False)
            )
        ) from error
    named = {site.url for site in told.forge}
    return (*told.forge, *(site for site in KNOWN if site.url not in named))
