"""Settings as values: read once from an environment that is handed in, checked as a whole, all mistakes told."""

import json
from collections.abc import Mapping
from typing import Self

from pydantic import BeforeValidator, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict


class ConfigurationError(Exception):
    """The configuration cannot be used. `mistakes` holds one sentence for each, with what to write instead."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class Settings(BaseSettings):
    """Base of all settings.

    A field is the environment variable of its name in capitals, behind the class's `env_prefix`; its docstring is the
    sentence that documents it, its first example what is suggested where it is wrong.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    @classmethod
    def load(cls, environment: Mapping[str, str], **overrides: object) -> Self:
        """The settings in `environment`, where an empty variable counts as unset.

        `overrides` (from flags) go before it, by field name; None overrides nothing. Raises `ConfigurationError`, which
        lists every mistake by the variable's name.
        """
        source = EnvSettingsSource(cls)
        source.env_vars = {name.lower(): value for name, value in environment.items() if value.strip()}
        values = source() | {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(*(cls._sentence(mistake) for mistake in error.errors())) from None

    @classmethod
    def variable(cls, name: str) -> str:
        """The environment variable of the field `name`."""
        return f"{cls.model_config.get('env_prefix', '')}{name}".upper()

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
        field = cls.model_fields.get(name)
        text = f"{cls.variable(name)}: {_plain(mistake)}" if name else _plain(mistake)
        if field is None or not field.examples:
            return text
        return f"{text}; write, for example, {cls.variable(name)}={field.examples[0]}"


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
