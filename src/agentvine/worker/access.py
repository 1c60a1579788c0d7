"""What an execution may reach outside of its boxes, and what it tried to."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from agentvine.domain.evidence import Contact
from agentvine.kit.logs import logger
from agentvine.worker.sandbox.base import EgressRecord
from agentvine.worker.sandbox.targets import AllowList, InvalidTarget, Target

_MOST_CONTACTS = 199
"""One less than evidence may hold, for the line that says how many are not listed."""
_MOST_RECORDS = 10_000
_LONGEST = 300
_NOT_OFFERED = "asked for, and not offered by this worker (OFFERED_HOSTS)"

_log = logger("egress")


@dataclass(frozen=True, slots=True)
class Offer:
    """Where boxes may connect to, by an operator's word: entries `host:port`, where a host may begin with `*.`.

    `always` holds for every execution; what is `on_demand` has to be asked for by a task or by its repository.
    """

    always: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()

    def grants(self, wish: str) -> bool:
        """Whether whoever asks for `wish` gets it, or has it already."""
        try:
            return AllowList([*self.always, *self.on_demand]).admits(Target.parse(wish))
        except InvalidTarget:
            return False


class Journal:
    """Everything that the boxes of one execution tried to reach. Bounded: a flood of attempts is counted, not kept.

    What is noted was written by hostile code: nothing of it makes `note` raise.
    """

    def __init__(self) -> None:
        self._contacts: dict[tuple[str, str, bool, str], Contact] = {}
        self._records: list[Contact] = []
        self._beyond = 0
        self._unlisted = 0

    def note(self, record: EgressRecord) -> None:
        """Keep one attempt."""
        contact = Contact(
            at=record.at,
            way=record.way.value,
            target=_line(record.target),
            allowed=record.allowed,
            reason=_line(record.reason) if record.reason else "",
            bytes_out=record.bytes_out,
            bytes_in=record.bytes_in,
        )
        if len(self._records) < _MOST_RECORDS:
            self._records.append(contact)
        else:
            self._beyond += 1
        self._list(contact)

    def refuse(self, wish: str) -> None:
        """Keep a wish for a host that this worker does not offer."""
        contact = Contact(way="wish", target=_line(wish), allowed=False, reason=_NOT_OFFERED)
        if _key(contact) not in self._contacts:  # it is wished for with each box
            self._list(contact)

    def _list(self, contact: Contact) -> None:
        known = self._contacts.get(_key(contact))
        if known is not None:
            more = {name: getattr(known, name) + getattr(contact, name) for name in ("count", "bytes_out", "bytes_in")}
            self._contacts[_key(contact)] = known.model_copy(update=more)
        elif len(self._contacts) < _MOST_CONTACTS:
            self._contacts[_key(contact)] = contact.model_copy(update={"at": None})
            if not contact.allowed:
                _log.warning("refused", way=contact.way, target=contact.target, reason=contact.reason)
        else:
            self._unlisted += 1

    @property
    def contacts(self) -> tuple[Contact, ...]:
        """What was tried, what is alike taken together; the refused ones first, and how many are not listed last."""
        listed = sorted(self._contacts.values(), key=lambda one: (one.allowed, one.way, one.target))
        if self._unlisted:
            listed.append(Contact(way="any", target="others, of more kinds", allowed=False, count=self._unlisted))
        return tuple(listed)

    def lines(self) -> bytes:
        """All attempts in order, one JSON object a line; empty if there was none."""
        rows = [record.model_dump_json() for record in self._records]
        if self._beyond:
            rows.append(f'{{"and_more": {self._beyond}}}')
        return "".join(f"{row}\n" for row in rows).encode()


def _key(contact: Contact) -> tuple[str, str, bool, str]:
    return contact.way, contact.target, contact.allowed, contact.reason


def _line(text: str) -> str:
    """`text` as one line that can be stored and shown."""
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST]).strip() or "?"


@dataclass(frozen=True, slots=True)
class Access:
    """One execution's way out. `wished`: the hosts that its task asks for."""

    offer: Offer = field(default_factory=Offer)
    wished: tuple[str, ...] = ()
    journal: Journal = field(default_factory=Journal)

    def hosts(self, of_repository: Iterable[str] = ()) -> tuple[str, ...]:
        """What its boxes may connect to, when its repository asks for `of_repository`; the rest is in the journal."""
        granted = list(self.offer.always)
        for wish in (*self.wished, *of_repository):
            if self.offer.grants(wish):
                granted.append(wish)
            else:
                self.journal.refuse(wish)
        return tuple(dict.fromkeys(granted))
