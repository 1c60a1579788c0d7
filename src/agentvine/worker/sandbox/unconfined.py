"""No sandbox: commands run as the worker's own user, with its network and its files. Only for `--sandbox=none`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agentvine.domain.execution import Usage
from agentvine.kit import process
from agentvine.kit.process import SYSTEM_PATH, Completed, guarded_argv
from agentvine.worker.sandbox.base import OWN_VARIABLES, Box, BoxSpec, Launch
from agentvine.worker.sandbox.limits import Breach

CONFINEMENT = "none: commands ran as the worker's own user"


@dataclass(frozen=True, slots=True)
class _Launch:
    argv: Sequence[str]
    environment: Mapping[str, str]

    async def close(self) -> None:
        """Nothing is served; the process belongs to whoever started it."""


class Unconfined:
    """Implements `Sandbox`. `path` is the PATH of what runs."""

    confinement = CONFINEMENT

    def __init__(self, path: str = SYSTEM_PATH) -> None:
        self._path = path

    @asynccontextmanager
    async def box(self, spec: BoxSpec) -> AsyncIterator[Box]:
        """No box at all: the limits, the hosts and the budget of `spec` mean nothing here."""
        with TemporaryDirectory(prefix="home-", dir=spec.private) as home:
            yield _Open(spec, self._path, Path(home))


class _Open:
    usage: Usage | None = None
    breach: Breach | None = None

    def __init__(self, spec: BoxSpec, path: str, home: Path) -> None:
        self._spec = spec
        self._environment = {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}

    @property
    def seen_at(self) -> Path:
        return self._spec.workspace

    async def adopt(self) -> None:
        """Everything is the worker's already."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout: float,
        env: Mapping[str, str] | None = None,
        network: bool = False,
        output_limit: int = 1_000_000,
    ) -> Completed:
        cwd.relative_to(self._spec.workspace)
        environment = {**self._environment, **(env or {})}
        return await process.run(
            argv, cwd=cwd, env=environment, timeout=timeout, output_limit=output_limit, guarded=True
        )

    def launch(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, kept: Mapping[Path, str] | None = None
    ) -> Launch:
        upstream = self._spec.upstream
        model = {} if upstream is None else {"ANTHROPIC_BASE_URL": upstream.base_url}
        if upstream is not None and upstream.api_key:
            model["ANTHROPIC_API_KEY"] = upstream.api_key
        told = {name: value for name, value in (env or {}).items() if name not in OWN_VARIABLES}
        return _Launch(guarded_argv(argv), {**self._environment, **told, **model})
