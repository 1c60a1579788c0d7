"""What a process has imported when it is ready. Importing is nearly all that a start costs (docs/performance.md)."""

import json
import sys
from pathlib import Path

import pytest

from agentvine.kit.process import run
from agentvine.testing.databases import sqlite_database

HELP = """
import sys
import typer
from agentvine.entry import app
try:
    typer.main.get_command(app).main(["--help"], prog_name="agentvine")
except SystemExit:
    pass
"""
WORKER = """
import sys
import agentvine.entry, agentvine.worker.executor, agentvine.worker.main
"""
SERVER = """
import asyncio, sys
from pathlib import Path
from agentvine.kit.shutdown import Shutdown
from agentvine.server.main import serve
from agentvine.server.settings import ServerSettings

shutdown, imported = Shutdown(), []

def ready(bound):
    imported.extend(sys.modules)
    shutdown.drain()

asyncio.run(serve(ServerSettings.load({}, data_dir=Path(sys.argv[1]), port=0), shutdown, ready))
"""
TELL = """
import json
print()
print(json.dumps(sorted({name.partition(".")[0] for name in globals().get("imported") or sys.modules})))
"""
NEVER = {"alembic", "apprise", "claude_agent_sdk", "coverage", "fastapi", "mcp", "pytest", "sqlalchemy"}


@pytest.mark.parametrize(
    ("script", "needs", "without"),
    [
        pytest.param(HELP, {"typer"}, {"asyncio", "httpx", "pydantic", "redis", "rich"}, id="the help"),
        pytest.param(WORKER, {"httpx", "pydantic"}, {"markdown_it", "starlette"}, id="a worker without an order"),
        pytest.param(SERVER, {"starlette", "uvicorn"}, {"httpx", "markdown_it"}, id="a server that answers"),
    ],
)
async def test_what_is_not_needed_yet_is_not_imported(
    tmp_path: Path, script: str, needs: set[str], without: set[str]
) -> None:
    sqlite_database(tmp_path)  # with the newest schema, as nearly every server finds it
    done = await run([sys.executable, "-c", script + TELL, str(tmp_path)], cwd=tmp_path, env={}, timeout=240)
    assert done.exit_code == 0, done.stderr
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert imported >= needs
    assert imported & (without | NEVER) == set()
