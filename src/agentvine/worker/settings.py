"""Everything that a worker can be told."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from agentvine.domain.base import Line
from agentvine.domain.ids import WorkerId
from agentvine.domain.task import QUEUES, QueueName, Specialization
from agentvine.domain.worker_types import PROFILES, WorkerProfile, WorkerType
from agentvine.kit.configuration import CommaSeparated, Settings
from agentvine.wire.messages import LONGEST_WAIT, WorkerConfiguration
from agentvine.worker.agent.base import ModelAccess, Watchdog


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not (parts.netloc or (parts.scheme == "unix" and parts.path)):
            raise ValueError(f"it should be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        if parts.path.rstrip("/").endswith("/api/v1"):
            raise ValueError("it should end before /api/v1, which is added to it")
        return value.rstrip("/")

    return AfterValidator(check)


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it holds characters that no key has; was it cut, or pasted with something else?")
    return value


_Url = Annotated[str, StringConstraints(strip_whitespace=True), _url("http", "https")]
_Key = Annotated[SecretStr, AfterValidator(_secret)]
_Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class WorkerConfig(Settings):
    """A worker's configuration. Each setting is the environment variable of its name in capitals, or a flag."""

    worker_name: Line = Field(examples=["bugfix-1"])
    """What people call this worker; several may have the same name."""
    worker_type: WorkerType = Field(examples=["bugfix"])
    """What kind of task it takes: feature, bugfix, test, docs, refactor or review."""
    api_url: _Url = Field(examples=["http://127.0.0.1:8420"])
    """Where the server is."""
    api_key: _Key = Field(examples=["av_…, made by `agentvine keys create --role worker`"])
    """The key with which the worker speaks to the server; its role is `worker`."""
    redis_url: Annotated[str, StringConstraints(strip_whitespace=True), _url("redis", "rediss", "unix")] | None = Field(
        default=None, repr=False, examples=["redis://127.0.0.1:6379"]
    )
    """The broker. Without one the worker hears of cancellations and answers some seconds later."""
    worker_id: WorkerId | None = Field(default=None, examples=["wrk_bugfix-1"])
    """A fixed identity: started again under it, a worker replaces its earlier process. Default: a new one."""
    max_concurrent_tasks: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, examples=["1"])
    """How many tasks it works on at once. Default: what suits its type (1; docs and test 2, review 3)."""
    queue_names: Annotated[tuple[QueueName, ...], Field(min_length=1, max_length=20), *CommaSeparated] = Field(
        default=QUEUES, examples=["high_priority,default"]
    )
    """The queues that it serves, in this order; separated by commas, or a JSON list."""
    specializations: Annotated[tuple[Specialization, ...], Field(max_length=50), *CommaSeparated] = Field(
        default=(), examples=["python,fastapi"]
    )
    """What it is good at: an order that asks for a specialization goes only to a worker that has it."""
    tools: Annotated[tuple[Line, ...], Field(max_length=50), *CommaSeparated] = Field(
        default=(), examples=["code_write,test_write"]
    )
    """What its work may use. Empty: the tools of its type's profile."""
    poll_interval: Annotated[float, Field(ge=0.1, le=LONGEST_WAIT, allow_inf_nan=False)] = Field(
        default=10.0, examples=["10"]
    )
    """Seconds that one request for work stays open. The server answers at once when there is some."""
    heartbeat_interval: Annotated[float, Field(ge=0.1, le=300, allow_inf_nan=False)] = Field(
        default=30.0, examples=["30"]
    )
    """Seconds between two reports of status and metrics."""
    task_timeout: Annotated[int, Field(ge=1, le=86_400)] = Field(default=3600, examples=["3600"])
    """The most seconds that one execution may take, unless its task says otherwise."""
    grace_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        default=300.0, examples=["300"]
    )
    """After the first SIGTERM, the seconds that running tasks have to finish; then they are handed back."""
    workspace_dir: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        default=Path("/tmp/agentvine"),  # noqa: S108  a fixed default; its mode is seen to where it is made
        examples=["/var/lib/agentvine"],
    )
    """Where mirrors and workspaces are kept."""
    cleanup_workspace: bool = Field(default=True, examples=["true"])
    """Remove a workspace when its execution is over. Keep it only to look into a fault."""
    tool_path: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00]*$")] | None = (
        Field(default=None, examples=["/opt/node/bin:/usr/local/bin:/usr/bin:/bin"])
    )
    """The PATH of Claude's and the repositories' commands. Default: the worker's Python, then the system."""
    max_repairs: Annotated[int, Field(ge=0, le=20)] = Field(default=2, examples=["2"])
    """How often Claude is told what is wrong with its result before the task fails."""
    test_timeout: _Seconds = Field(default=900.0, examples=["900"])
    """The most seconds that one run of a repository's tests may take."""
    agent_first_message_timeout: _Seconds = Field(default=120.0, examples=["120"])
    """Seconds in which Claude Code has to say its first word."""
    agent_idle_timeout: _Seconds = Field(default=600.0, examples=["600"])
    """Seconds that Claude Code may be silent."""
    agent_exit_timeout: _Seconds = Field(default=30.0, examples=["30"])
    """Seconds that Claude Code has to exit after its result."""
    anthropic_base_url: _Url | None = Field(default=None, examples=["https://api.anthropic.com"])
    """The address of the model that the worker's executions use. Default: Claude Code's own."""
    anthropic_api_key: _Key | None = Field(default=None, examples=["sk-ant-…"])
    """The model's key."""
    anthropic_model: Line | None = Field(default=None, examples=["claude-sonnet-4-5"])
    """The model. Default: Claude Code's own choice."""

    @property
    def profile(self) -> WorkerProfile:
        return PROFILES[self.worker_type]

    @property
    def slots(self) -> int:
        """How many executions run at once."""
        return self.max_concurrent_tasks or self.profile.slots

    @property
    def watchdog(self) -> Watchdog:
        """How long Claude Code may be silent."""
        return Watchdog(
            first_message=self.agent_first_message_timeout,
            idle=self.agent_idle_timeout,
            after_result=self.agent_exit_timeout,
            total=float(self.task_timeout),
        )

    @property
    def model_access(self) -> ModelAccess:
        """Where the model is, and its key."""
        key = self.anthropic_api_key
        return ModelAccess(self.anthropic_base_url, key.get_secret_value() if key else None, self.anthropic_model)

    @property
    def told_the_server(self) -> WorkerConfiguration:
        """What of it the server needs to know."""
        return WorkerConfiguration(
            max_concurrent_tasks=self.slots,
            queue_names=self.queue_names,
            specializations=self.specializations,
            tools=self.tools or self.profile.tools,
        )
