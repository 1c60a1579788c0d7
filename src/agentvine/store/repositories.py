"""Repositories that operators have said something about, and what their orders cost by day."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from agentvine.domain.execution import Usage
from agentvine.domain.repository_settings import Repository, RepositorySettings, address_of
from agentvine.store.rows import build, json_text, json_value, micros, model_text, moment
from agentvine.store.unit import Dialect, Row, Unit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROUNDING = 1e-6
"""Dollars by which sums of floats may be off."""


@dataclass(frozen=True, slots=True)
class Known:
    """A repository as it is kept. The secrets are sealed."""

    repository: Repository
    address: str
    secret: str | None = None
    """The token, or the command that gives one."""
    webhook: str | None = None
    named: Mapping[str, datetime] | None = None
    """Since when each user has been named, in lower case."""

    @property
    def named_since(self) -> dict[str, datetime]:
        """Whose words count now, in lower case, and since when. Where an earlier version wrote the settings and kept no
        moment: since it last did."""
        kept, repository = self.named or {}, self.repository
        return {user: kept.get(user, repository.updated_at) for user in repository.settings.named}

    def is_at(self, url: str) -> bool:
        """Whether an address means this one, however it is spelled."""
        address = address_of(url)
        return address == self.address or address.lower() == self.repository.settings.folded


def insert(unit: Unit, known: Known) -> bool:
    """Keep a new one, and find the orders that name it. False if it is there already."""
    repository = known.repository
    fresh = unit.run(
        """INSERT INTO repositories (id, address, settings, created_at, created_by, updated_at, credential, secret,
               webhook, named, folded)
           VALUES (:id, :address, :settings, :created_at, :created_by, :created_at, :credential, :secret, :webhook,
               :named, :folded)
           ON CONFLICT (address) DO NOTHING""",
        id=repository.id,
        address=known.address,
        settings=model_text(repository.settings),
        created_at=micros(repository.created_at),
        created_by=repository.created_by,
        credential=repository.credential,
        secret=known.secret,
        webhook=known.webhook,
        named=_named_text(known),
        folded=repository.settings.folded,
    )
    if fresh:
        _find_spellings(unit, known)
    return bool(fresh)


def _find_spellings(unit: Unit, known: Known) -> None:
    """Note how the orders that are there name it."""
    urls = {row["repository"] for row in unit.all("SELECT DISTINCT repository FROM tasks")}
    _spell(unit, {known.repository.settings.repository, *filter(known.is_at, urls)})


def _spell(unit: Unit, urls: Iterable[str]) -> frozenset[str]:
    """Note whom each of these means, which may be another one than its neighbour. Returns their ids."""
    found = {url: known.repository.id for url in urls if (known := of(unit, url)) is not None}
    for url, repository_id in sorted(found.items()):
        spelled(unit, repository_id, url)
    return frozenset(found.values())


def _named_text(known: Known) -> str | None:
    return None if known.named is None else json_text({user: micros(at) for user, at in known.named.items()})


def save(unit: Unit, known: Known) -> frozenset[str]:
    """Replace what is kept under its id; what troubles it is forgotten. Returns the ids of others that some of its
    orders belong to now."""
    repository, folded = known.repository, known.repository.settings.folded
    before = unit.one("SELECT folded FROM repositories WHERE id = :id", id=repository.id)
    unit.run(
        """UPDATE repositories SET settings = :settings, updated_at = :updated_at, credential = :credential,
               secret = :secret, webhook = :webhook, named = :named, folded = :folded, trouble = NULL
           WHERE id = :id""",
        id=repository.id,
        settings=model_text(repository.settings),
        updated_at=micros(repository.updated_at),
        credential=repository.credential,
        secret=known.secret,
        webhook=known.webhook,
        named=_named_text(known),
        folded=folded,
    )
    if before is not None and before["folded"] != folded:  # another forge: what counts as the same has changed
        heirs = _spell(unit, _unspelled(unit, repository.id)) - {repository.id}
        _find_spellings(unit, known)
        return heirs
    spelled(unit, repository.id, repository.settings.repository)
    return frozenset()


def delete(unit: Unit, repository_id: str) -> frozenset[str]:
    """Forget it, with its secrets and what it has cost. Its orders stay. Returns the ids of those that they belong to
    now: of two that were added before the case of letters said nothing, one is left."""
    unit.run("DELETE FROM repository_days WHERE repository_id = :id", id=repository_id)
    unit.run("DELETE FROM repositories WHERE id = :id", id=repository_id)
    return _spell(unit, _unspelled(unit, repository_id))


def _unspelled(unit: Unit, repository_id: str) -> list[str]:
    """How it was spelled, which is forgotten."""
    rows = unit.all("SELECT url FROM repository_spellings WHERE repository_id = :id", id=repository_id)
    unit.run("DELETE FROM repository_spellings WHERE repository_id = :id", id=repository_id)
    return [row["url"] for row in rows]


def spelled(unit: Unit, repository_id: str, url: str) -> None:
    """Note that orders name it so."""
    unit.run(
        """INSERT INTO repository_spellings (url, repository_id) VALUES (:url, :id)
           ON CONFLICT (url) DO UPDATE SET repository_id = excluded.repository_id
           WHERE repository_spellings.repository_id <> excluded.repository_id""",
        url=url,
        id=repository_id,
    )


def note_trouble(unit: Unit, repository_id: str, trouble: str | None) -> None:
    """Say why its forge could not be looked at; None: it can be."""
    unit.run(
        """UPDATE repositories SET trouble = :trouble
           WHERE id = :id AND COALESCE(trouble, '') <> COALESCE(CAST(:trouble AS TEXT), '')""",
        id=repository_id,
        trouble=trouble,
    )


# ── finding some ─────────────────────────────────────────────────────────────────────────────────────────────────


def locked(unit: Unit, repository_id: str) -> Known | None:
    """By its id; nobody else changes it before this transaction ends."""
    row = unit.one("SELECT * FROM repositories WHERE id = :id FOR NO KEY UPDATE", id=repository_id)
    return _known(row) if row else None


def by_id(unit: Unit, repository_id: str) -> Known | None:
    row = unit.one("SELECT * FROM repositories WHERE id = :id", id=repository_id)
    return _known(row) if row else None


def of(unit: Unit, url: str) -> Known | None:
    """The one that an address means, however it is spelled."""
    address = address_of(url)
    rows = unit.all(
        "SELECT * FROM repositories WHERE address = :address OR folded = :folded",
        address=address,
        folded=address.lower(),
    )
    exactly_first = sorted(rows, key=lambda row: (row["address"] != address, row["id"]))
    return _known(exactly_first[0]) if rows else None


def alike(unit: Unit, settings: RepositorySettings, but: str = "") -> Known | None:
    """One that is there already, not called `but`, and would be the same as one with these settings. Nobody else looks
    for one before this transaction ends."""
    folded = settings.folded
    lock(unit, settings.address.lower())
    for known in everyone(unit):
        if known.repository.id == but:
            continue
        if known.is_at(settings.repository) or (folded is not None and known.address.lower() == folded):
            return known
    return None


def settings(unit: Unit, url: str) -> RepositorySettings | None:
    """What was said of the one that an address means."""
    known = of(unit, url)
    return known.repository.settings if known is not None else None


def everyone(unit: Unit) -> list[Known]:
    """All of them, oldest first."""
    return [_known(row) for row in unit.all("SELECT * FROM repositories ORDER BY id")]


_PAGE = MappingProxyType(
    {
        Dialect.SQLITE: """
    SELECT * FROM repositories
    WHERE (:after IS NULL OR id < :after)
      AND (:addresses IS NULL OR address IN (SELECT value FROM json_each(:addresses)))
    ORDER BY id DESC LIMIT :limit""",
        Dialect.POSTGRESQL: """
    SELECT * FROM repositories
    WHERE (CAST(:after AS TEXT) IS NULL OR id < :after)
      AND (CAST(:addresses AS TEXT) IS NULL
           OR address IN (SELECT jsonb_array_elements_text(CAST(:addresses AS JSONB))))
    ORDER BY id DESC LIMIT :limit""",
    }
)


def page(unit: Unit, after: str | None, addresses: list[str] | None, limit: int) -> list[Known]:
    """Those of these addresses (None: of any), newest first, behind the one called `after`."""
    rows = unit.all(
        _PAGE[unit.dialect],
        after=after,
        addresses=None if addresses is None else json_text(addresses),
        limit=limit,
    )
    return [_known(row) for row in rows]


def settings_of(text: str) -> RepositorySettings:
    """Settings as they were stored."""
    return RepositorySettings.model_validate_json(text)


def _known(row: Row) -> Known:
    repository = build(
        Repository,
        {
            "id": row["id"],
            "settings": settings_of(row["settings"]),
            "created_at": moment(row["created_at"]),
            "created_by": row["created_by"],
            "updated_at": moment(row["updated_at"]),
            "credential": row["credential"],
            "webhook": row["webhook"] is not None,
            "trouble": row["trouble"],
            "spent_today_usd": 0.0,
        },
    )
    named = None if row["named"] is None else {user: moment(at) for user, at in json_value(row["named"]).items()}
    return Known(repository, row["address"], row["secret"], row["webhook"], named)


# ── its orders, and what they cost ───────────────────────────────────────────────────────────────────────────────


def lock(unit: Unit, name: str) -> None:
    """Let nobody else claim an order of the repository with this address, or id if it is known, before this
    transaction ends, so that counting and claiming are one."""
    if unit.dialect is Dialect.POSTGRESQL:
        unit.one("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))", name=name)


def running(unit: Unit, repository_id: str) -> int:
    """How many of its orders run, by whatever spelling."""
    row = unit.one(
        """SELECT COUNT(*) AS number FROM work_orders WHERE status = 'running'
           AND repository IN (SELECT url FROM repository_spellings WHERE repository_id = :id)""",
        id=repository_id,
    )
    return int(row["number"]) if row else 0


def lower(unit: Unit, repository_id: str, rank: int) -> int:
    """Let none of its orders that are not running have a level above `rank`. Returns how many did."""
    unit.run(
        """UPDATE tasks SET permission = :rank WHERE permission > :rank
           AND repository IN (SELECT url FROM repository_spellings WHERE repository_id = :id)
           AND id IN (SELECT task_id FROM work_orders WHERE status IN ('pending', 'waiting', 'failed'))""",
        id=repository_id,
        rank=rank,
    )
    return unit.run(
        """UPDATE work_orders SET permission = :rank
           WHERE permission > :rank AND status IN ('pending', 'waiting', 'failed')
           AND repository IN (SELECT url FROM repository_spellings WHERE repository_id = :id)""",
        id=repository_id,
        rank=rank,
    )


def spent(unit: Unit, url: str, usd: float, at: datetime) -> None:
    """Charge what an execution has cost to the repository that its order names so, if that is known."""
    unit.run(
        """INSERT INTO repository_days (repository_id, day, spent_usd)
           SELECT repository_id, :day, :usd FROM repository_spellings WHERE url = :url
           ON CONFLICT (repository_id, day) DO UPDATE SET
               spent_usd = repository_days.spent_usd + excluded.spent_usd""",
        url=url,
        usd=usd,
        day=day_of(at),
    )


@dataclass(frozen=True, slots=True)
class Day:
    """What a repository costs on a day, in dollars."""

    ended_usd: float
    """What its executions that ended on it have cost."""
    so_far_usd: float
    """What those that run have cost until now."""
    held_usd: float
    """What those that run may cost in all: they were promised as much."""
    running: int

    @property
    def spent_usd(self) -> float:
        return self.ended_usd + self.so_far_usd

    def left_usd(self, most: float) -> float:
        """What is left for others, where the day may cost `most`."""
        return most - self.ended_usd - self.held_usd

    def affords(self, most: float, rest_usd: float) -> bool:
        """Whether an order that may still cost `rest_usd` may begin. Beside others it has to be covered whole; one
        alone is given what is left."""
        left = self.left_usd(most)
        return left >= rest_usd - _ROUNDING if self.running else left > 0


def day(unit: Unit, repository_id: str, at: datetime, but: str = "") -> Day:
    """What it costs on the day of `at`; the order `but` is not counted among those that run."""
    rows = unit.all(  # in one statement: what ends meanwhile is counted as running or as ended, and once
        """SELECT spent_usd AS usd, NULL AS usage FROM repository_days WHERE repository_id = :id AND day = :day
           UNION ALL
           SELECT o.budget_usd - o.spent_usd, e.usage
           FROM work_orders o JOIN executions e ON e.id = o.lease_execution
           WHERE o.status = 'running' AND o.id <> :but
             AND o.repository IN (SELECT url FROM repository_spellings WHERE repository_id = :id)""",
        id=repository_id,
        day=day_of(at),
        but=but,
    )
    ended = sum(float(one["usd"]) for one in rows if one["usage"] is None)
    held = [(float(one["usd"]), _cost_of(one["usage"])) for one in rows if one["usage"] is not None]
    return Day(ended, sum(cost for _, cost in held), sum(max(both) for both in held), len(held))


def _cost_of(usage: str) -> float:
    return 0.0 if usage == "{}" else Usage.model_validate_json(usage).cost_usd


def day_of(at: datetime) -> int:
    """A day (UTC) as a number."""
    return (at - _EPOCH).days
