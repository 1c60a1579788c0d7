"""Which programs the agent and the repository's tests find."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from agentvine.kit.process import SYSTEM_PATH


@dataclass(frozen=True, slots=True)
class Toolchain:
    """`path` is the PATH in which programs are looked for; `more` is set beside it."""

    path: str = SYSTEM_PATH
    more: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_this_worker(cls, path: str | None = None) -> "Toolchain":
        """The machine's programs. If the worker's own interpreter has pytest, `python3` and `pytest` are that one's.

        What plugins happen to be installed beside the worker is then no business of the repository's tests: they are
        not loaded by themselves. An operator's own `path` is taken as it is.
        """
        if path is not None:
            return cls(path)
        if find_spec("pytest") is None:
            return cls()
        return cls(f"{Path(sys.executable).parent}:{SYSTEM_PATH}", {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})

    @property
    def directories(self) -> tuple[Path, ...]:
        """What a sandbox has to show of the machine so that programs on the path are found whole."""
        places = (Path(entry) for entry in self.path.split(":") if entry.startswith("/"))
        return tuple(place.parent if place.name in {"bin", "sbin"} else place for place in places if _apart(place))

    def environment(self) -> dict[str, str]:
        """What a command needs to find its tools, and nothing that it could learn from."""
        return {
            "PATH": self.path,
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "CI": "true",
            **self.more,
        }


def _apart(place: Path) -> bool:
    """Whether it lies apart from the system, which every sandbox shows anyway."""
    return place.is_dir() and not place.is_relative_to("/usr") and place.parent != Path("/")
