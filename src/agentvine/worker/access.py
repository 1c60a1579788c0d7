"""What an execution may reach outside of its boxes, and what it tried to."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agentvine.domain.evidence import Contact
from agentvine.kit.logs import logger
from agentvine.worker.sandbox.base import EgressRecord
from agentvine.worker.sandbox.targets import AllowList, InvalidTarget, Target

_MOST_CONTACTS = 199
_MOST_RECORDS = 10_000
_LONGEST = 300

_log = logger("egress")


@dataclass(frozen=True, slots=True)
class Offer:
    """Where boxes may connect to, by an operator's word: entries `host:port`, where a host may begin with `*.`.

    `always` holds for every execution; what is `on_demand` has to be asked for by a task or by its repository.
    """

    always: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()

    def granted(self, wished: Iterable[str]) -> tuple[str, ...]:
        """What is open to an execution with these wishes; a wish that nobody offers is logged and not granted."""
        offered = AllowList(self.on_demand)
        good = [wish for wish in wished if _offered(wish, self.on_demand, offered)]
        return tuple(dict.fromkeys([*self.always, *good]))


def _offered(wish: str, entries: tuple[str, ...], offered: AllowList) -> bool:
    try:
        good = wish in entries or offered.admits(Target.parse(wish))
    except InvalidTarget:
        good = False
    if not good:
        _log.warning("a host is wished for that this worker does not offer", host=wish[:_LONGEST])
    return good


class Journal:
    """Everything that the boxes of one execution tried to reach. Bounded: a flood of attempts is counted, not kept."""

    def __init__(self) -> None:
        self._contacts: dict[tuple[str, str, bool, str], Contact] = {}
        self._records: list[EgressRecord] = []
        self._beyond = 0
        self._unlisted = 0

    def note(self, record: EgressRecord) -> None:
        """Keep one attempt."""
        if len(self._records) < _MOST_RECORDS:
            self._records.append(record)
        else:
            self._beyond += 1
        target, reason = record.target[:_LONGEST] or "?", record.reason[:_LONGEST]
        key = (record.way.value, target, record.allowed, reason)
        known = self._contacts.get(key)
        if known is None:
            if len(self._contacts) >= _MOST_CONTACTS:
                self._unlisted += 1
                return
            if not record.allowed:
                _log.warning("refused", way=record.way.value, target=target, reason=reason)
            known = Contact(way=record.way.value, target=target, allowed=record.allowed, reason=reason, count=0)
        self._contacts[key] = known.model_copy(
            update={
                "count": known.count + 1,
                "bytes_out": known.bytes_out + record.bytes_out,
                "bytes_in": known.bytes_in + record.bytes_in,
            }
        )

    def refuse(self, wish: str) -> None:
        """Keep a wish for a host that this worker does not offer, once."""
        target = wish[:_LONGEST]
        reason = "asked for, and not offered by this worker (OFFERED_HOSTS)"
        self._contacts.setdefault(
            ("wish", target, False, reason), Contact(way="wish", target=target, allowed=False, reason=reason)
        )

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """What was tried, what is alike taken together; the refused ones first, and how many are not listed last."""
        listed = sorted(self._contacts.values(), key=lambda one: (one.allowed, one.way, one.target))
        if self._unlisted:
            listed.append(Contact(way="both", target="others, of more kinds", allowed=False, count=self._unlisted))
        return tuple(listed)

    def lines(self) -> bytes:
        """All attempts in order, one JSON object a line; empty if there was none."""
        rows = [
            Contact(
                at=record.at,
                way=record.way.value,
                target=record.target[:_LONGEST] or "?",
                allowed=record.allowed,
                reason=record.reason[:_LONGEST],
                bytes_out=record.bytes_out,
                bytes_in=record.bytes_in,
            ).model_dump_json()
            for record in self._records
        ]
        if self._beyond:
            rows.append(f'{{"and_more": {self._beyond}}}')
        return "".join(f"{row}\n" for row in rows).encode()


@dataclass(frozen=True, slots=True)
class Access:
    """One execution's way out. `wished`: the hosts that its task asks for."""

    offer: Offer = field(default_factory=Offer)
    wished: tuple[str, ...] = ()
    journal: Journal = field(default_factory=Journal)

    def hosts(self, of_repository: Iterable[str] = ()) -> tuple[str, ...]:
        """What its boxes may connect to, when its repository asks for `of_repository`."""
        wishes = [*self.wished, *of_repository]
        granted = self.offer.granted(wishes)
        for wish in wishes:
            if wish not in granted:
                self.journal.refuse(wish)
        return granted
