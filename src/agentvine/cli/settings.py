"""What the CLI takes from its surroundings, read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment variables that the CLI knows; an empty one counts as not set."""

    url: str | None = None
    """`AGENTVINE_URL`: where the server is."""
    api_key: str | None = field(default=None, repr=False)
    """`AGENTVINE_API_KEY`: the key to open it with."""
    context: Path | None = None
    """`AGENTVINE_CONTEXT`: the context file to use instead of the one in the user's configuration directory."""


def surroundings(environment: Mapping[str, str] | None = None) -> Surroundings:
    """What `environment` says; None: this process's own."""
    variables = os.environ if environment is None else environment
    context = variables.get("AGENTVINE_CONTEXT")
    return Surroundings(
        url=variables.get("AGENTVINE_URL") or None,
        api_key=variables.get("AGENTVINE_API_KEY") or None,
        context=Path(context) if context else None,
    )


def environment() -> dict[str, str]:
    """All of this process's environment, for what is started from the command line."""
    return dict(os.environ)
