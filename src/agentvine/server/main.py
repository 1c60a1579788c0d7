"""A server, put together and run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agentvine.broker.redis import RedisBroker
from agentvine.domain.errors import Unavailable
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.configuration import ConfigurationError
from agentvine.kit.logs import hide, logger
from agentvine.kit.redaction import password_of
from agentvine.kit.sealed import SealBroken, Vault, is_key, read_or_make_key
from agentvine.kit.shutdown import Shutdown
from agentvine.kit.signing import KeyUnusable, SigningKey, read_or_make
from agentvine.server.app import OPERATIONS, create_app
from agentvine.server.audit import AuditTrail
from agentvine.server.bells import Bells
from agentvine.server.broker_link import BrokerLink
from agentvine.server.controller import PolicyInForce
from agentvine.server.expulsion import Expulsion
from agentvine.server.first_key import see_to_first_key
from agentvine.server.front_desk import FrontDeskService
from agentvine.server.intake_teller import IntakeTeller
from agentvine.server.keyring import KeyRing
from agentvine.server.listening import bind, listening, pulse
from agentvine.server.metrics import Metrics
from agentvine.server.notifier import Notifier
from agentvine.server.notifier import degraded as untold
from agentvine.server.notify_channels import Channel, channels
from agentvine.server.pruning import Pruner
from agentvine.server.reaper import Reaper
from agentvine.server.repositories import Safe
from agentvine.server.services import Services
from agentvine.server.settings import ServerSettings
from agentvine.server.waits import Waits
from agentvine.server.webhooks import Webhooks
from agentvine.server.worker_desk import ControlPlaneService
from agentvine.store.artifacts import ArtifactFolder
from agentvine.store.database import Database
from agentvine.store.engine import open_database
from agentvine.store.migrate import migrate
from agentvine.store.revision import DatabaseDamaged, DatabaseTooNew

CHECK_SECONDS = 5.0
"""A database that takes longer to say anything counts as not answering."""
_log = logger("server")


@dataclass(frozen=True, slots=True)
class BoundServer:
    """A server that takes requests."""

    url: str


class DiskFailed(Exception):
    """The database's disk cannot be trusted any more. The process must end; nothing was acknowledged in vain."""


async def serve(
    settings: ServerSettings,
    shutdown: Shutdown,
    ready: Callable[[BoundServer], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """Run a server until `shutdown` drains. `ready` is called once it takes requests; None: the machine's clock.

    Raises `ConfigurationError` if it cannot listen or start with these settings, `DiskFailed`.
    """
    failures: list[BaseException] = []

    def on_fatal(error: BaseException) -> None:
        failures.append(error)
        shutdown.stop()

    hide(password_of(settings.database_url), password_of(settings.redis_url), *settings.secrets)
    clock = clock or SystemClock()
    told = await channels(settings, clock)
    policy = PolicyInForce(settings.policy)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with pulse(settings), contextlib.closing(bind(settings)) as listener:
        await _migrate(settings)
        database = open_database(settings.database, on_fatal=on_fatal)
        try:
            keyring = KeyRing(database, clock)
            await see_to_first_key(settings, keyring)
            async with (
                _assembled(settings, database, keyring, policy, told, clock) as services,
                listening(create_app(services), services.waits, listener, shutdown) as url,
            ):
                _log.info("serving", url=url)
                if ready is not None:
                    ready(BoundServer(url))
                await OPERATIONS.put_together()  # so that nobody waits for them later
                await shutdown.draining.wait()
        finally:
            await database.close()
    if failures:
        raise DiskFailed(str(failures[0])) from failures[0]


def _signing_key(settings: ServerSettings) -> SigningKey:
    try:
        return read_or_make(settings.signing_key or settings.data / "signing.key")
    except KeyUnusable as error:
        raise ConfigurationError(f"AGENTVINE_SERVER_SIGNING_KEY: {error}") from error


def _safe(settings: ServerSettings) -> Safe:
    try:
        if settings.secrets_key is not None and is_key(settings.secrets_key.name):
            raise SealBroken("it is the key itself; write it to a file, and name that file")
        key = read_or_make_key(settings.secrets_key or settings.data / "secrets.key")
    except SealBroken as broken:
        raise ConfigurationError(f"AGENTVINE_SERVER_SECRETS_KEY: {broken}") from broken
    hide(key)
    return Safe(Vault(key), settings.credential_commands)


async def _migrate(settings: ServerSettings) -> None:
    try:
        await asyncio.to_thread(migrate, settings.database)
    except (DatabaseTooNew, DatabaseDamaged) as error:
        raise ConfigurationError(str(error)) from error


@asynccontextmanager
async def _assembled(
    settings: ServerSettings,
    database: Database,
    keyring: KeyRing,
    policy: PolicyInForce,
    told: Sequence[Channel],
    clock: Clock,
) -> AsyncIterator[Services]:
    """The use cases, with the loops that belong to them running."""
    broker = RedisBroker(settings.redis_url) if settings.redis_url else None
    link = BrokerLink(broker) if broker else None
    bells = Bells(publish=link.publish if link else None)
    control = ControlPlaneService(
        database=database,
        clock=clock,
        bells=bells,
        terms=settings.terms,
        artifacts=ArtifactFolder(settings.data / "artifacts"),
        policy=policy,
        signing=_signing_key(settings),
        safe=_safe(settings),
    )
    trail = AuditTrail(database, clock)
    notifiers = [Notifier(channel, frozenset(settings.notify_about), database, clock) for channel in told]

    def degraded() -> dict[str, str]:
        return {
            **(link.degraded() if link else {}),
            **policy.degraded(),
            **untold(notifiers),
            **control.limits.degraded(),
        }

    assembled = services(keyring, control, degraded, trail, credentials_over_http=settings.credentials_over_http)
    teller = IntakeTeller(control.intake, database, control.clock)
    loops = [Reaper(control).run(), control.heartbeats.run(), trail.run(bells), assembled.expulsion.run(), policy.run()]
    loops.append(teller.run(bells))
    loops += [notifier.run(bells) for notifier in notifiers]
    loops += _answering(settings, control)
    if settings.kept_days:
        pruner = Pruner(database, control.artifacts, control.clock, trail)
        loops.append(pruner.run(settings.kept_days))
    if link is not None:
        loops.append(link.run(bells, control))
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(loop) for loop in loops]
            yield assembled
            for task in running:
                task.cancel()
    finally:
        await trail.end()
        if broker is not None:
            await broker.close()


def _answering(settings: ServerSettings, control: ControlPlaneService) -> list[Coroutine[object, object, None]]:
    if settings.answerer_model is None:
        return []
    from agentvine.server.answerer import answerers  # its HTTP client is slow to import

    return [answerer.run() for answerer in answerers(settings, control)]


def services(
    keyring: KeyRing,
    control: ControlPlaneService,
    degraded: Callable[[], dict[str, str]] = dict,
    trail: AuditTrail | None = None,
    *,
    credentials_over_http: bool = False,
) -> Services:
    """What the HTTP application is given."""
    trail = trail or AuditTrail(control.database, control.clock)
    metrics = Metrics()
    waits = Waits(metrics.waiting.set)
    return Services(
        identify=keyring.identify,
        speaking=control.sessions.speaking,
        refused=trail.refused,
        control_plane=control.acting_as,
        front_desk=FrontDeskService(control, keyring, degraded=degraded, trail=trail).acting_as,
        latest_event=control.latest_event,
        check=lambda: _check(control),
        webhooks=Webhooks(control),
        degraded=degraded,
        credentials_over_http=credentials_over_http,
        metrics=metrics,
        waits=waits,
        expulsion=Expulsion(keyring, waits),
    )


async def _check(control: ControlPlaneService) -> None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await control.check()
    except TimeoutError as error:
        raise Unavailable(f"the database has not answered for {CHECK_SECONDS:g} s", retry_after=1) from error
