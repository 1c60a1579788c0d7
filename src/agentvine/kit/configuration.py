"""Settings as values: read once from an environment that is handed in, checked as a whole, all mistakes told."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BeforeValidator, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

_LARGEST_FILE = 65_536
"""Bytes; a setting is a line or a few."""


class ConfigurationError(Exception):
    """The configuration cannot be used. `mistakes` holds one sentence for each, with what to write instead."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Settings(BaseSettings):
    """Base of all settings.

    A field is the environment variable of its name in capitals, behind the class's `env_prefix`; its docstring is the
    sentence that documents it, its first example what is suggested where it is wrong. The variable with `_FILE` behind
    its name names a file that holds the value: secrets then stand in no environment. (Where that is a field itself, it
    means what that field says.)
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    @classmethod
    def load(cls, environment: Mapping[str, str], **overrides: object) -> Self:
        """The settings in `environment`, where an empty variable counts as unset, and so does one with an empty file.

        `overrides` (from flags) go before it, by field name; None overrides nothing. Raises `ConfigurationError`, which
        lists every mistake by the variable's name.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        told, unread = cls._with_files(environment, given)
        source = EnvSettingsSource(cls)
        source.env_vars = {name.lower(): value for name, value in told.items() if value.strip()}
        try:
            settings = cls.model_validate(cls._read(source) | given)
        except ValidationError as error:
            mistakes = [mistake for mistake in error.errors() if mistake["loc"][:1] not in {(name,) for name in unread}]
            raise ConfigurationError(*unread.values(), *map(cls._sentence, mistakes)) from None
        if unread:
            raise ConfigurationError(*unread.values())
        return settings

    @classmethod
    def _read(cls, source: EnvSettingsSource) -> dict[str, object]:
        """What the variables say. Raises `ConfigurationError` for one that is no JSON where only that can be."""
        try:
            return source()
        except SettingsError:
            wrong = [name for name in cls.model_fields if not _is_readable(source, name)]
            sentences = [f"{cls.variable(name)}: it is no JSON" for name in wrong]
            raise ConfigurationError(
                *(cls._suggested(name, one) for name, one in zip(wrong, sentences, strict=True))
            ) from None

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of the field `name`."""
        return f"{cls.model_config.get('env_prefix', '')}{name}".upper()

    @classmethod
    def _with_files(
        cls, environment: Mapping[str, str], given: Mapping[str, object]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """`environment` with the content of the files that it names, and what is wrong with those files, by field.

        A file whose field is `given` by a flag is not looked at.
        """
        told, unread = dict(environment), {}
        for name in cls.model_fields.keys() - given.keys():
            variable = cls.variable(name)
            path = environment.get(f"{variable}_FILE", "").strip()
            if not path or f"{name}_file" in cls.model_fields:
                continue
            if environment.get(variable, "").strip():
                unread[name] = f"{variable}_FILE: {variable} is set as well; keep one of the two"
                continue
            try:
                told[variable] = _content(Path(path))
            except ValueError as error:
                unread[name] = f"{variable}_FILE: {path} {error}"
        return told, dict(sorted(unread.items()))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing is read behind `load`'s back."""
        return (init_settings,)

    @classmethod
    def _sentence(cls, mistake: ErrorDetails) -> str:
        name = str(mistake["loc"][0]) if mistake["loc"] else ""
        return cls._suggested(name, f"{cls.variable(name)}: {_plain(mistake)}" if name else _plain(mistake))

    @classmethod
    def _suggested(cls, name: str, text: str) -> str:
        field = cls.model_fields.get(name)
        if field is None or not field.examples:
            return text
        return f"{text}; write, for example, {cls.variable(name)}={field.examples[0]}"


def _is_readable(source: EnvSettingsSource, name: str) -> bool:
    field = source.settings_cls.model_fields[name]
    value, key, is_complex = source.get_field_value(field, name)
    try:
        source.prepare_field_value(key, field, value, is_complex)
    except ValueError:
        return False
    return True


def _content(path: Path) -> str:
    """A file's text without its last line's end. Raises ValueError that says what is wrong, not what is in it."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"is larger than the {_LARGEST_FILE} bytes that a setting may have")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError as error:
            raise ValueError("it starts like a JSON list, but is none") from error
    return tuple(part for part in (part.strip() for part in value.split(",")) if part)


CommaSeparated = (NoDecode, BeforeValidator(_split))
"""Metadata of a list field: `Annotated[tuple[X, ...], *CommaSeparated]` takes `a,b` as well as `["a", "b"]`."""

_PLAIN = {"missing": "it is not set", "string_pattern_mismatch": "it does not have the right form"}


def _plain(mistake: ErrorDetails) -> str:
    message = mistake["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    where = "".join(f" (item {part + 1})" for part in mistake["loc"][1:] if isinstance(part, int))
    return _PLAIN.get(mistake["type"], message) + where
