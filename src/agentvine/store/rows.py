"""Between columns and domain types. Rows were validated when they came in; they are not validated again on the way out,
so that a rule which is tightened later does not make old rows unreadable."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel
from pydantic_core import from_json, to_json

M = TypeVar("M", bound=BaseModel)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_set = object.__setattr__


@cache
def _fields_of(model: type[BaseModel]) -> set[str]:
    """The names of all its fields. Not to be changed: instances share it, and theirs are frozen."""
    return set(model.model_fields)


def build(model: type[M], values: dict[str, Any]) -> M:
    """An instance that holds `values`, which must name every field and be of the right types already.

    What `model_construct` does, but for its search for defaults and aliases, which is most of its time.
    """
    instance = model.__new__(model)
    _set(instance, "__dict__", values)
    _set(instance, "__pydantic_fields_set__", _fields_of(model))
    _set(instance, "__pydantic_extra__", None)
    _set(instance, "__pydantic_private__", None)
    return instance


def micros(moment: datetime) -> int:
    """`moment` as it is stored."""
    return (moment - _EPOCH) // _MICROSECOND


def micros_or_none(moment: datetime | None) -> int | None:
    """As `micros`; NULL for None."""
    return None if moment is None else micros(moment)


def moment(stored: int) -> datetime:
    """A stored moment, aware, in UTC."""
    return _EPOCH + timedelta(microseconds=stored)


def moment_or_none(stored: int | None) -> datetime | None:
    """As `moment`; None for NULL."""
    return None if stored is None else moment(stored)


def json_text(value: object) -> str:
    """`value`, of plain types, as JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # it has no integers beyond 64 bits, and a transcript may hold some
        return to_json(value, inf_nan_mode="null").decode()


def json_value(text: str) -> Any:
    """The other way."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # an integer that is too large even for a float
        return from_json(text)


def model_text(value: BaseModel | None) -> str | None:
    """`value` as JSON; NULL for None."""
    return None if value is None else value.model_dump_json()


def model_or_none(model: type[M], text: str | None) -> M | None:
    """The other way. Raises pydantic's ValidationError for what is no such model."""
    return None if text is None else model.model_validate_json(text)


def strings(text: str) -> tuple[str, ...]:
    """A stored list of strings."""
    return () if text == "[]" else tuple(orjson.loads(text))
