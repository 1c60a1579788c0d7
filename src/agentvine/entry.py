"""The program: the client's commands, and those that start something. Each imports what it needs when it runs."""

import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from agentvine.cli.command import epilog
from agentvine.cli.flags import Flag, flagged
from agentvine.cli.main import FLEET, START, app, group
from agentvine.cli.text import clean
from agentvine.domain.worker_types import TaskType
from agentvine.kit.importing import importing
from agentvine.upkeep import add_commands

__all__ = ["app", "main"]

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from agentvine.kit.shutdown import Shutdown
    from agentvine.up import Up

_MISCONFIGURED = 78  # EX_CONFIG of sysexits.h: to start it again changes nothing
_DISK_FAILED = 74  # EX_IOERR of sysexits.h
_PARENT = "AGENTVINE_PARENT"
_HANDED_ON = {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK"}
_HANDED_ON_IN_ANY_CASE = {"http_proxy", "https_proxy", "no_proxy", "all_proxy"}
_HANDED_ON_PREFIXES = ("ANTHROPIC_", "GIT_")
_Sandbox = Annotated[
    str | None,
    typer.Option("--sandbox", metavar="KIND", help="What confines agents: bubblewrap, or none.", show_default=False),
]
_ONE_OF_EACH = ",".join(f"{kind.value}=1" for kind in TaskType)
_MOST_WORKERS = 1000
_MOST_SERVERS = 64
_T = TypeVar("_T")

SERVER_FLAGS = (
    Flag("host", "--host", "Where to listen.", metavar="ADDRESS"),
    Flag("port", "--port", "Which port to listen on; 0 for any free one.", int),
    Flag("data_dir", "--data", "Where everything is kept.", Path, "DIR"),
    Flag("database_url", "--database-url", "sqlite:///path or postgresql://user@host/name.", metavar="URL"),
    Flag("redis_url", "--redis-url", "The broker: redis://host:port.", metavar="URL"),
)
WORKER_FLAGS = (
    Flag("worker_type", "--type", "What kind of task it takes.", TaskType),
    Flag("worker_name", "--name", "What people call it.", metavar="NAME"),
    Flag("worker_id", "--id", "A fixed identity, such as wrk_bugfix-1.", metavar="ID"),
    Flag("api_url", "--api-url", "Where the server is.", metavar="URL"),
    Flag("api_key", "--api-key", "Its key; API_KEY keeps it out of `ps`.", metavar="KEY"),
    Flag("redis_url", "--redis-url", "The broker: redis://host:port.", metavar="URL"),
    Flag("max_concurrent_tasks", "--max-concurrent-tasks", "How many tasks it works on at once.", int, "NUMBER"),
    Flag("queue_names", "--queue-names", "The queues that it serves, in this order.", metavar="NAME,..."),
    Flag("specializations", "--specializations", "What it is good at.", metavar="WORD,..."),
    Flag("tools", "--tools", "What its work may use.", metavar="TOOL,..."),
    Flag("poll_interval", "--poll-interval", "How long one request for work stays open.", float, "SECONDS"),
    Flag("heartbeat_interval", "--heartbeat-interval", "From one report of how it goes to the next.", float, "SECONDS"),
    Flag("task_timeout", "--task-timeout", "The longest that one execution may take.", int, "SECONDS"),
    Flag("grace_seconds", "--grace-seconds", "Time to finish after the first SIGTERM.", float, "SECONDS"),
    Flag("workspace_dir", "--workspace-dir", "Where it keeps mirrors and workspaces.", Path, "DIR"),
    Flag("sandbox", "--sandbox", "What confines agents: bubblewrap, or none.", metavar="KIND"),
    Flag("cleanup_workspace", "--cleanup-workspace/--keep-workspace", "What happens to a workspace afterwards.", bool),
)


def main() -> None:
    """Run this process's command line."""
    app()


@app.command(
    "up",
    epilog=epilog(
        (
            "agentvine up",
            "agentvine up --data /srv/agentvine --port 8420 --workers feature=1,bugfix=2",
            "agentvine up --servers 2 --workers bugfix=40",
        )
    ),
    rich_help_panel=START,
)
def up(
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="DIR", help="Where everything is kept; else ~/.local/share/agentvine.", show_default=False
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Where to listen; 0 for any free one.")] = 8420,
    workers: Annotated[
        str, typer.Option("--workers", metavar="TYPE=NUMBER,...", help="How many workers of which types.")
    ] = _ONE_OF_EACH,
    servers: Annotated[
        int, typer.Option("--servers", min=1, max=_MOST_SERVERS, help="How many server processes share the port.")
    ] = 1,
    sandbox: _Sandbox = None,
) -> None:
    """Start a server, a broker and workers on this machine.

    Settings of workers and of the server (docs/configuration.md) are given as variables. It runs until SIGINT or
    SIGTERM; running tasks then have time to finish, and a second signal hands them back. While it runs, all other
    commands of this user find it by themselves.
    """
    from agentvine.cli.announcement import Announcement
    from agentvine.cli.context import Context
    from agentvine.cli.settings import environment
    from agentvine.up import CannotStart, Plan, for_server, for_workers
    from agentvine.up import up as bring_up

    kept_in = (data or _data_directory()).absolute()
    around = environment() | ({"SANDBOX": sandbox} if sandbox else {})
    announcement = Announcement()

    def ready(running: "Up") -> None:
        announcement.make(Context(running.url, running.key, running.data), len(running.workers))

    try:
        mine, theirs = for_server(around, Path.cwd()), for_workers(around)
        plan = Plan(kept_in, workers_wanted(workers), handed_on(around), host, port, servers, theirs, mine)
        _until_stopped(lambda shutdown: bring_up(plan, shutdown, ready))
    except CannotStart as error:
        _give_up(str(error))
    finally:
        announcement.take_back()


@app.command(
    "server",
    epilog=epilog(
        (
            "agentvine server --data /srv/agentvine",
            "agentvine server --host 0.0.0.0 --database-url postgresql://agentvine@db/agentvine --redis-url redis://cache:6379",
        )
    ),
    rich_help_panel=START,
)
@flagged(SERVER_FLAGS)
def server(given: Mapping[str, object]) -> None:
    """Start a server alone.

    Each option is also a variable: AGENTVINE_SERVER_PORT and so on.
    """
    with importing():
        import uvloop

        from agentvine.domain.errors import Unavailable
        from agentvine.server.main import BoundServer, DiskFailed, serve
        from agentvine.server.settings import ServerSettings

    def ready(bound: BoundServer) -> None:
        print(f"AgentVine's server takes requests at {bound.url}", flush=True)

    settings = _configured(lambda: ServerSettings.load(_started(), **given))
    try:
        _configured(lambda: _until_stopped(lambda shutdown: serve(settings, shutdown, ready), uvloop.new_event_loop))
    except DiskFailed as error:
        _give_up(f"the database's disk failed: {error}", _DISK_FAILED)
    except Unavailable as error:  # it gets so far only while the server starts
        _give_up(str(error))


@app.command(
    "worker",
    epilog=epilog(
        (
            "agentvine worker --type bugfix --name bugfix-1 --api-url http://127.0.0.1:8420",
            "agentvine worker --type test --name test-1 --max-concurrent-tasks 4 --specializations pytest,jest",
        )
    ),
    rich_help_panel=START,
)
@flagged(WORKER_FLAGS)
def worker(given: Mapping[str, object]) -> None:
    """Start a worker alone.

    Each option is also a variable: WORKER_TYPE, API_KEY, MAX_CONCURRENT_TASKS and so on.
    """
    with importing():
        from agentvine.worker.executor import make_executor
        from agentvine.worker.main import run_worker
        from agentvine.worker.settings import WorkerConfig

    config = _configured(lambda: WorkerConfig.load(_started(), **given))
    raise typer.Exit(_configured(lambda: _until_stopped(lambda shutdown: run_worker(config, make_executor, shutdown))))


_demo = group(
    "demo",
    (
        "agentvine demo",
        "agentvine demo --forge",
        "agentvine demo --keep /tmp/demo --json",
        "agentvine demo model --script script.toml",
    ),
    "Watch AgentVine at work, with a scripted model.",
    runs_alone=True,
)


@_demo.callback()
def demo(
    context: typer.Context,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="DIR", help="Keep everything there.", show_default=False)
    ] = None,
    forge: Annotated[bool, typer.Option("--forge", help="Follow one issue on a forge until it is merged.")] = False,
    real: Annotated[bool, typer.Option("--real", help="Use the real model; it needs ANTHROPIC_API_KEY.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
    sandbox: _Sandbox = None,
) -> None:
    """Watch six workers deliver six tasks, or one issue become a merged pull request, with a scripted model."""
    if context.invoked_subcommand is not None:
        return
    from agentvine.cli.settings import environment
    from agentvine.demo.fleet import Stage
    from agentvine.demo.performance import one_issue, six_types
    from agentvine.demo.repositories import DemoFailed

    around = handed_on(environment())
    if real and (forge or "ANTHROPIC_API_KEY" not in around):
        wrong = "needs ANTHROPIC_API_KEY in the environment" if not forge else "is not for --forge"
        raise typer.BadParameter(f"--real {wrong}")
    try:
        done = _run((one_issue if forge else six_types)(Stage(around, keep, real, sandbox), as_json=as_json))
    except DemoFailed as error:
        _give_up(str(error))
    raise typer.Exit(0 if done else 1)


@_demo.command("model", epilog=epilog(("agentvine demo model --script script.toml --port 8430",)))
def model(
    script: Annotated[Path, typer.Option("--script", metavar="FILE", help="What it plays, in TOML or JSON.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Where to listen; 0 for any free one.")] = 0,
) -> None:
    """Serve the scripted model alone, until SIGTERM or SIGINT."""
    from agentvine.demo.scripted_model import run
    from agentvine.domain.errors import InvalidInput

    try:
        _run(run(script, port))
    except InvalidInput as error:
        _give_up(error.message)


app.add_typer(_demo, rich_help_panel=START)


@app.command("doctor", epilog=epilog(("agentvine doctor", "agentvine doctor --json")), rich_help_panel=START)
def doctor(
    workspace_dir: Annotated[
        Path | None,
        typer.Option("--workspace-dir", metavar="DIR", help="Where workers would keep their workspaces."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False,
) -> None:
    """Say what is missing on this machine, and how to mend it.

    Exit code: 0 if everything needed is there, 1 if something is missing.
    """
    import json
    from dataclasses import asdict

    from agentvine.cli.render import screen
    from agentvine.cli.settings import environment
    from agentvine.kit.diagnosis import Verdict
    from agentvine.server.doctor import examine as examine_server
    from agentvine.worker.doctor import examine as examine_worker

    around = environment()
    found = [*examine_server(), *_run(examine_worker(around, workspace_dir))]
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        styles = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.MISSING: "red"}
        shown = screen()
        for each in found:
            shown.say((f"{each.verdict.value:<8} ", styles[each.verdict]), (f"{each.name:<12} ", "bold"), each.found)
            if each.mend:
                shown.say(f"         \u2192 {each.mend}")
    raise typer.Exit(1 if any(each.verdict is Verdict.MISSING for each in found) else 0)


_notify = group("notify", ("agentvine notify test",), "Telling people what waits: try the channels.")


@_notify.command("test", epilog=epilog(("agentvine notify test", "agentvine notify test --json")))
def notify_test(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array.")] = False) -> None:
    """Send one notice to each channel that the server's variables name; no server is needed.

    Exit code: 0 if all have taken it, 1 if one has not.
    """
    from agentvine.cli.settings import environment
    from agentvine.server.notify_trial import try_all

    raise typer.Exit(_configured(lambda: _run(try_all(environment(), as_json=as_json))))


app.add_typer(_notify, rich_help_panel=FLEET)
add_commands(app, FLEET)


def workers_wanted(text: str) -> dict[TaskType, int]:
    """How many workers of each type `feature=1,bugfix=2` asks for. Raises a usage error that says what is wrong."""
    wanted: dict[TaskType, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, number = part.partition("=")
        if name.strip() not in set(TaskType):
            raise typer.BadParameter(f"there is no worker type '{name.strip()}'; the types are {', '.join(TaskType)}")
        if not number.strip().isdecimal() or len(number) > 9 or int(number) > _MOST_WORKERS:
            raise typer.BadParameter(f"write '{part}' as {name.strip()}=NUMBER, with a number up to {_MOST_WORKERS}")
        wanted[TaskType(name.strip())] = int(number)
    return wanted


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What of `environment` a part that is started here is given: where programs, the model and proxies are."""
    return {
        name: value
        for name, value in environment.items()
        if name in _HANDED_ON or name.lower() in _HANDED_ON_IN_ANY_CASE or name.startswith(_HANDED_ON_PREFIXES)
    }


def _data_directory() -> Path:
    from platformdirs import user_data_path

    return user_data_path("agentvine")


def _started() -> dict[str, str]:
    """Prepare this process to be a server or a worker; returns its environment."""
    from agentvine.cli.settings import environment
    from agentvine.kit.logs import configure_logs
    from agentvine.kit.tether import tie_to_parent

    around = environment()
    configure_logs(json=not sys.stderr.isatty())
    _arm(around)
    if (parent := around.get(_PARENT, "")).isdecimal():
        tie_to_parent(int(parent))
    return around


def _arm(around: Mapping[str, str]) -> None:
    """Arm the failpoints of a test. Raises ConfigurationError if there is one that does not exist."""
    from agentvine.kit import failpoints
    from agentvine.kit.configuration import ConfigurationError

    try:
        failpoints.arm(around.get(failpoints.VARIABLE, ""))
    except ValueError as error:
        raise ConfigurationError(*str(error).splitlines()) from None


def _configured(act: Callable[[], _T]) -> _T:
    """What `act` returns. A configuration that cannot be used ends the process, every mistake on a line of its own."""
    from agentvine.kit.configuration import ConfigurationError

    try:
        return act()
    except ConfigurationError as error:
        for mistake in error.mistakes:
            print(mistake, file=sys.stderr)
        raise typer.Exit(_MISCONFIGURED) from None


def _until_stopped(
    work: "Callable[[Shutdown], Coroutine[object, object, _T]]",
    loop: "Callable[[], AbstractEventLoop] | None" = None,
) -> _T:
    """Run `work`, in a `loop` of its own kind if need be, with a shutdown that SIGTERM and SIGINT lead into."""
    from agentvine.kit.shutdown import Shutdown, on_signals

    async def run() -> _T:
        shutdown = Shutdown()
        with on_signals(shutdown):
            return await work(shutdown)

    return _run(run(), loop)


def _run(work: Coroutine[object, object, _T], loop: "Callable[[], AbstractEventLoop] | None" = None) -> _T:
    import asyncio

    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def _give_up(message: str, code: int = 1) -> NoReturn:
    print(f"error: {clean(message)}", file=sys.stderr)
    raise typer.Exit(code)
