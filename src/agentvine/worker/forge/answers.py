"""Answers of a forge's API, understood: what is of use in them, checked against the kinds that the API says."""

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from agentvine.worker.forge.base import ForgeUnavailable
from agentvine.worker.forge.connection import Told

_T = TypeVar("_T")


class Value(BaseModel):
    """Part of an answer. What else is in it is nobody's business here."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def understood(kind: type[_T], told: Told | JsonValue, who: str) -> _T:
    """An answer of the forge called `who` as a `kind`. Raises ForgeUnavailable if it is none."""
    value = told.value if isinstance(told, Told) else told
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[:1]
        raise ForgeUnavailable(f"{who} answers with something else than its API does: {first}") from error


_ADAPTERS: dict[object, TypeAdapter[object]] = {}


def _adapter(kind: type[_T]) -> TypeAdapter[_T]:
    """Adapters are dear to make and never change: each is made once."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]  # type: ignore[return-value]  # keyed by its own type
