"""How a conversation begins, or goes on: what the agent is told first, and under which session."""

import uuid
from dataclasses import dataclass

from agentvine.domain.request import RequestKind, WorkerRequest
from agentvine.worker.agent import prompts
from agentvine.worker.agent.asking import ASK_TOOL, BUILT_IN
from agentvine.worker.agent.prompts import RepositoryFacts
from agentvine.worker.agent.sessions import SessionTranscript
from agentvine.worker.asking import in_words
from agentvine.worker.handover import Fresh, GoOn, Interrupted, Paused, Reopened, Start, files_of, lost_while_parked
from agentvine.worker.hearing import Hearing
from agentvine.worker.job import Job


@dataclass(frozen=True, slots=True)
class FirstWords:
    """`prompt` None: the conversation goes on at the call at which it was parked."""

    prompt: str | None
    session_id: str
    resumes: bool


async def first_words(
    job: Job,
    start: Start,
    facts: RepositoryFacts,
    seen_at: str,
    *,
    transcript: SessionTranscript,
    hearing: Hearing,
) -> FirstWords:
    """Decide how to begin. A conversation that is gone on with is then this execution's, and on the server as such."""
    if isinstance(start, Fresh):
        return _anew(job, start, facts, hearing)
    adopted = start.session_id is not None and await transcript.adopt(start.execution_id)
    if not adopted or start.session_id is None:
        return _anew(job, start, facts, hearing)
    await transcript.flush()
    hearing.skip(_heard_before(job, start.execution_id))
    if transcript.parked and isinstance(start, Paused | Interrupted):
        if lost := lost_while_parked(start):
            hearing.tell(prompts.files_lost(lost))
        return FirstWords(None, start.session_id, resumes=True)
    return FirstWords(_again(job, start, seen_at, transcript, hearing), start.session_id, resumes=True)


def _again(
    job: Job,
    start: GoOn | Paused | Interrupted | Reopened,
    seen_at: str,
    transcript: SessionTranscript,
    hearing: Hearing,
) -> str:
    """What wakes a conversation."""
    if isinstance(start, GoOn):
        moved = f"Your working directory is `{seen_at}`; a path from before that differs from it is gone."
        words = f"{prompts.comments(job.profile, start.comment)}\n{moved}\n"
    elif isinstance(start, Reopened):
        words = prompts.reopened(job.profile, start.why, start.files, seen_at)
    else:
        asked = _asked(start.asked) if not {ASK_TOOL, BUILT_IN}.isdisjoint(transcript.unfinished) else ""
        words = prompts.interrupted(start.why, files_of(start.kept), seen_at, asked)
    comments = hearing.take_all()
    return f"{words}\n{comments}" if comments else words


def _anew(job: Job, start: Start, facts: RepositoryFacts, hearing: Hearing) -> FirstWords:
    """The beginning, which nobody has been told; but files may be there."""
    parts = [prompts.opening(job.profile, job.task, facts)]
    if isinstance(start, Paused | Interrupted) and start.kept is not None and start.kept.bundle is not None:
        parts.append(prompts.left_behind(files_of(start.kept)))
    if isinstance(start, Reopened):
        parts.append(f"\n{start.why} {start.files} The conversation from then is lost.\n")
    if isinstance(start, Fresh | GoOn) and start.comment:
        parts.append(prompts.comments(job.profile, start.comment))
    parts.append(hearing.take_all())
    return FirstWords("\n".join(part for part in parts if part), str(uuid.uuid4()), resumes=False)


def _heard_before(job: Job, execution_id: str) -> int:
    """Up to which comment of this order the conversation of an earlier execution was told."""
    earlier = job.claimed.earlier
    return earlier.execution.comments_heard if earlier is not None and earlier.execution.id == execution_id else 0


def _asked(request: WorkerRequest | None) -> str:
    """What became of the question that the conversation waited for when it was broken off."""
    if request is None or request.kind is not RequestKind.CLARIFICATION:
        return ""
    answer = in_words(request.response) if request.response is not None else None
    return prompts.asked_before(request.message, answer)
