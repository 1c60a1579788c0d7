"""What a worker is told of git credentials and of sensitive operations."""

import shlex
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from agentvine.domain.tool_policy import TOOLS
from agentvine.kit.configuration import Settings
from agentvine.worker.credentials import Credentials, credentials_from

_File = Annotated[Path, AfterValidator(Path.absolute)]


def _words(value: object) -> object:
    return tuple(shlex.split(value)) if isinstance(value, str) else value  # ValueError: a quote is not closed


def known_tool(name: str) -> str:
    """`name`, if there is such a tool. Raises ValueError."""
    if name not in TOOLS:
        raise ValueError(f"there is no tool {name!r}; the tools are {', '.join(TOOLS)}")
    return name


class PolicySettings(Settings):
    """Git credentials and sensitive operations."""

    git_credentials: _File | None = Field(default=None, examples=["/etc/agentvine/git-credentials"])
    """The file with git credentials, encrypted, that `agentvine credentials` writes."""
    git_credential_key: SecretStr | None = Field(default=None, examples=["…= (44 characters)"])
    """The key that opens it. Default: the one in GIT_CREDENTIAL_KEY_FILE."""
    git_credential_key_file: _File | None = Field(default=None, examples=["/run/secrets/git-credentials.key"])
    """The file with that key, mode 0600. Default: the name of GIT_CREDENTIALS with `.key` added."""
    git_credential_command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words), Field(max_length=100)] = (
        Field(default=(), examples=["/usr/local/bin/forge-token get"])
    )
    """What prints the token for a repository where none is stored, told as git tells a credential helper."""
    forges: _File | None = Field(default=None, examples=["/etc/agentvine/forges.toml"])
    """The operator's file of forges besides github.com, gitlab.com and codeberg.org, where pull requests are opened."""
    sensitive_rules: _File | None = Field(default=None, examples=["/etc/agentvine/sensitive.toml"])
    """The operator's file that tightens or loosens what counts as a sensitive operation."""

    @property
    def credentials(self) -> Credentials:
        """Where git credentials come from. Raises ConfigurationError."""
        return credentials_from(
            self.git_credentials, self.git_credential_key, self.git_credential_key_file, self.git_credential_command
        )
