"""What an execution may reach, and the record of what it tried: written by hostile hands, and bounded."""

import pytest

from agentvine.domain.evidence import Contact, Evidence
from agentvine.kit.clock import SystemClock
from agentvine.worker.access import Access, Journal, Offer
from agentvine.worker.sandbox.base import EgressRecord, Way

OFFER = Offer(always=("*.always.example:443",), on_demand=("index.example:443", "*.below.example:8443"))


def record(target: str, *, allowed: bool = False, reason: str = "not listed") -> EgressRecord:
    return EgressRecord(SystemClock().now(), Way.PROXY, target, allowed=allowed, reason=reason, bytes_in=3)


@pytest.mark.parametrize(
    ("wish", "granted"),
    [
        ("index.example:443", True),
        ("INDEX.example:443", True),
        ("a.below.example:8443", True),
        ("a.always.example:443", True),  # it is open anyway
        ("index.example:80", False),
        ("below.example:8443", False),
        ("index.example.evil:443", False),
        ("127.1:443", False),
        ("nonsense", False),
    ],
)
def test_only_what_is_offered_is_granted_and_the_rest_is_on_record(wish: str, granted: bool) -> None:
    access = Access(OFFER, (wish,))
    hosts = access.hosts()
    assert access.hosts(["index.example:443"])  # each box asks again
    assert hosts == (("*.always.example:443", wish) if granted else ("*.always.example:443",))
    refused = [(contact.way, contact.target, contact.count) for contact in access.journal.contacts]
    assert refused == ([] if granted else [("wish", wish, 1)])


def test_a_flood_of_attempts_and_wishes_fits_into_evidence() -> None:
    journal = Journal()
    for number in range(20_000):
        journal.note(record(f"host{number}.example:443"))
    for number in range(40):
        journal.refuse(f"wish{number}.example:443")
    assert len(journal.contacts) == 200
    (limit,) = (one.max_length for one in Evidence.model_fields["egress"].metadata if hasattr(one, "max_length"))
    assert len(journal.contacts) <= limit
    assert journal.contacts[-1].count == 20_000 - 199 + 40
    lines = journal.lines().splitlines()
    assert len(lines) == 10_001
    assert b"10000" in lines[-1]


@pytest.mark.parametrize("target", ["", " ", "\t\n", "\x7f", "\x85", "\ud800", "\x00a", "x" * 10_000, "\u202e"])
def test_whatever_is_asked_for_can_be_kept_and_sent(target: str) -> None:
    journal = Journal()
    journal.note(record(target, reason=target))
    (kept,) = journal.contacts
    assert Contact.model_validate_json(kept.model_dump_json()) == kept
    assert len(journal.lines().splitlines()) == 1


def test_what_is_alike_is_added_up() -> None:
    journal = Journal()
    for _ in range(3):
        journal.note(record("a.example:443"))
    journal.note(record("a.example:443", allowed=True, reason=""))
    refused, allowed = journal.contacts
    assert (refused.count, refused.bytes_in, allowed.count) == (3, 9, 1)
