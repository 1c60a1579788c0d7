"""What a worker tells the server holds none of its secrets, and what is pushed says no word that looks like one."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.retry import Failure, FailureReason
from agentvine.domain.worker import WorkerStatus
from agentvine.kit.redaction import REDACTED, Redactor
from agentvine.testing.cast import PUSHED, Hand, a_task, evidence_of, registration, used
from agentvine.testing.site import InProcessSite, in_process_site
from agentvine.wire import messages as m
from agentvine.worker.agent.sessions import recording
from agentvine.worker.commits import signed
from agentvine.worker.redacting import RedactingPlane, secrets_of
from agentvine.worker.settings import WorkerConfig
from agentvine.worker.verification.telling import evidence_in_words

KNOWN = "this-is-the-worker-s-own-secret"
CODED = base64.b64encode(f"user:{KNOWN}".encode()).decode()
SHAPED = "sk-ant-api03-" + "x" * 30
BAD = f"one {KNOWN}, two {CODED}, three {SHAPED}."


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[InProcessSite]:
    async with in_process_site(sqlite_url, tmp_path) as site:
        yield site


async def a_careful_worker(site: InProcessSite) -> Hand:
    hand = Hand(site, RedactingPlane(await site.worker_plane(), Redactor([KNOWN])), "wrk_one")
    await hand.plane.register(registration("wrk_one"))
    return hand


async def everything(site: InProcessSite) -> str:
    """All that the database knows, and all artifacts that are words."""
    tables = ("executions", "evidence", "transcripts", "requests", "events", "work_orders", "workers", "audit")
    rows = await site.database.read(lambda unit: [unit.all(f"SELECT * FROM {table}") for table in tables])
    return str(rows)


async def test_no_word_that_a_worker_says_holds_a_secret(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_careful_worker(site)
    for _ in range(3):
        await desk.submit(a_task())
    claimed = await worker.take_and_start()
    execution_id, token = claimed.lease.execution_id, claimed.lease.token
    check = Check(name="tests", outcome=CheckOutcome.FAILED, why=BAD)
    found = evidence_of(claimed).model_copy(update={"checks": (check,), "not_checked": (BAD,)})
    await worker.plane.add_evidence(execution_id, m.EvidenceReport(token=token, evidence=found))
    await worker.say(claimed, 0, BAD, f"it begins {KNOWN[:15]}", f"{KNOWN[15:]} it ends")
    await worker.plane.store_artifact(execution_id, token, "result.json", json.dumps({"summary": BAD}).encode())
    await worker.plane.ask(execution_id, worker.question(claimed, message=BAD, context=BAD, options=(f"use {SHAPED}",)))
    await worker.plane.heartbeat(worker.id, m.Heartbeat(status=WorkerStatus.ERROR, note=BAD))
    await site.control.heartbeats.flush()
    done = m.Completion(token=token, delivery=PUSHED, usage=used(0.1), summary=BAD)
    await worker.plane.complete(claimed.order.id, done)
    failing = await worker.take_and_start()
    failure = Failure(reason=FailureReason.AGENT_CRASHED, detail=BAD)
    await worker.plane.fail(failing.order.id, m.FailureReport(token=failing.lease.token, failure=failure))
    parking = await worker.take_and_start()
    await worker.park(parking, worker.question(parking, message=BAD))

    told = await everything(site)
    told += (await worker.plane.artifact(execution_id, "result.json")).decode()
    assert told.count(f"one {REDACTED}, two ") >= 8, "they were said"
    for secret in (KNOWN, KNOWN[:15], KNOWN[15:], CODED[8:], SHAPED):
        assert secret not in told


async def test_what_is_no_word_stays_as_it_is(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_careful_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    for name in ("bundle", "diff"):
        await worker.plane.store_artifact(claimed.lease.execution_id, claimed.lease.token, name, BAD.encode())
        assert await worker.plane.artifact(claimed.lease.execution_id, name) == BAD.encode()


async def test_a_transcript_s_own_copy_is_clean_too(site: InProcessSite) -> None:
    desk, worker = await site.front_desk(), await a_careful_worker(site)
    await desk.submit(a_task())
    claimed = await worker.take_and_start()
    async with recording(worker.plane, claimed.lease.execution_id, claimed.lease.token, [KNOWN]) as transcript:
        await transcript.append([{"text": BAD}, {"text": f"and {KNOWN[:20]}"}, {"text": f"{KNOWN[20:]} so"}])
        kept = str(await transcript.load())
    assert REDACTED in kept
    for secret in (KNOWN, KNOWN[:20], KNOWN[20:], SHAPED):
        assert secret not in kept


def test_what_is_pushed_and_proposed_says_no_secret() -> None:
    message = signed(f"feat: x\n\nuse {SHAPED}\n".encode(), "feat", {"AgentVine-Task": "tsk_1"})
    assert SHAPED.encode() not in message
    assert signed(message, "feat", {"AgentVine-Task": "tsk_1"}) == message
    words = evidence_of_words()
    assert REDACTED in words
    assert SHAPED not in words


def evidence_of_words() -> str:
    check = Check(name="tests", outcome=CheckOutcome.FAILED, why=BAD)
    return evidence_in_words(
        Evidence.model_validate(
            {
                "execution_id": "exe_" + "0" * 26,
                "task_id": "tsk_" + "0" * 26,
                "type": "test",
                "made_at": datetime(2026, 1, 1, tzinfo=UTC),
                "base_sha": "a" * 40,
                "head_sha": "b" * 40,
                "checks": (check,),
            }
        )
    )


def test_a_worker_knows_its_secrets() -> None:
    config = WorkerConfig.load(
        {},
        worker_name="one",
        worker_type="docs",
        api_url="http://127.0.0.1:1",
        api_key="av_key",
        anthropic_api_key="model-key",
        redis_url="redis://:pw-of-redis@127.0.0.1:6379",
    )
    assert set(secrets_of(config)) == {"av_key", "model-key", "pw-of-redis"}
