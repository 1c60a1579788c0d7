"""The operator's word on what is sensitive: a TOML file that the worker's settings name. See docs/tool-policy.md."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from agentvine.domain.sensitive import Sensitive
from agentvine.kit.configuration import ConfigurationError

_LARGEST = 1024 * 1024
_VARIABLE = "SENSITIVE_RULES"


def read_sensitive(path: Path | None) -> Sensitive:
    """The rules with the operator's changes; None: as they come. Raises ConfigurationError with each mistake."""
    if path is None:
        return Sensitive()
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{_VARIABLE}: {path} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST:
        raise ConfigurationError(f"{_VARIABLE}: {path} is larger than {_LARGEST} bytes")
    return parse_sensitive(content, str(path))


def parse_sensitive(content: bytes, name: str) -> Sensitive:
    """The meaning of the file called `name`. Raises ConfigurationError."""
    try:
        return Sensitive.model_validate(tomllib.loads(content.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{_VARIABLE}: {name} is no TOML: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(
            *(
                f"{_VARIABLE}: {name}: {'.'.join(map(str, one['loc'])) or 'the file'}: "
                f"{one['msg'].removeprefix('Value error, ')}"
                for one in error.errors(include_url=False)
            )
        ) from error
