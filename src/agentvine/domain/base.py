"""What every domain type has in common."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints

Moment = AwareDatetime
"""A point in time, aware; the server's clock unless a field says otherwise."""

Line = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""One line of text, not empty, without control characters."""

Text = Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")]
"""Free text. PostgreSQL cannot store NUL, so nobody may send it."""


class Model(BaseModel):
    """A frozen value. Unknown fields are ignored, so that an older reader understands a newer writer."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=False, ser_json_inf_nan="null")


class Strict(Model):
    """A frozen value that a person wrote: an unknown field is a mistake worth telling."""

    model_config = ConfigDict(extra="forbid")
