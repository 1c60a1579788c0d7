"""Approval of a result: of what it does that is sensitive, and that nobody has agreed to yet.

It is asked for when nothing else keeps the result from leaving. The approval is for these files as they are: a result
that differs in one of them asks again.
"""

import asyncio
import json

from pydantic import JsonValue

from agentvine.domain.approval import MOST_LEAVES, RESULT, Grant, noted, rules_of
from agentvine.domain.evidence import Check, CheckOutcome, Evidence
from agentvine.domain.request import ControllerResponse, RequestStatus, ToolUse, WorkerRequest
from agentvine.kit.logs import logger
from agentvine.wire.messages import NewRequest
from agentvine.worker.approving import LARGEST_INPUT, MOST_PATHS, NotAskable, digest_of, listed
from agentvine.worker.asking import NOBODY_AGREED, Answer, Asking, denial
from agentvine.worker.job import Job
from agentvine.worker.verification.policy import SENSITIVE_CHECK, files_of, still_sensitive
from agentvine.worker.verification.verify import Subject, change_in, failing, kept_to_rules

_SHOWN = 10
_MOST_DIFFED = 100
_LONGEST_DIFF = 40_000
_LONGEST_REASONS = 20_000

_log = logger("clearance")


def lacks_only_approval(evidence: Evidence) -> bool:
    """Whether nothing keeps a result from leaving but that it does something sensitive."""
    return [check.name for check in failing(evidence)] == [SENSITIVE_CHECK]


async def cleared(job: Job, asking: Asking, evidence: Evidence, base: str, head: str) -> Evidence | NewRequest:
    """The evidence after somebody was asked, or the request if nobody has answered yet.

    Denied, or not to be asked, the check says why, for the agent. `asking.failure` is to be looked at then. Raises
    GitFailed.
    """
    subject = job.subject(base, head)
    try:
        use, reasons = await _use(subject)
        request = asking.request_for(use, _message(use), await _context(subject, use, reasons))
    except NotAskable as why:
        return _told(evidence, f"Nobody can be asked to agree to it: {why}.")
    answer = await asking.answer(request)
    if answer is None:
        return request
    if isinstance(answer, ControllerResponse) and answer.verdict == "approved" and answer.changed_input is None:
        job.approvals.add(Grant.given(request.id, request.message, use, answer))
        _log.info("the result is approved", request_id=request.id, rule=use.rule, by=answer.made_by)
        return await judged_anew(job, evidence, base, head)
    job.approvals.drop(request.id)
    return _told(evidence, f"{words_of(answer)}\nTake the change of these back: {_some(use)}")


async def judged_anew(job: Job, evidence: Evidence, base: str, head: str) -> Evidence:
    """Evidence with the answers of this worker's rules, and of what was approved, in the place of older ones.

    Raises GitFailed.
    """
    subject = job.subject(base, head)
    fresh = await kept_to_rules(subject, await subject.commits.diff(base, head))
    answers = {check.name: check for check in fresh}
    checks = (*(answers.pop(check.name, check) for check in evidence.checks), *answers.values())
    return evidence.model_copy(update={"checks": checks, "approved_calls": noted(subject.grants)})


def asks_about_result(request: WorkerRequest | None) -> bool:
    """Whether a request is one of these."""
    return request is not None and request.call is not None and request.call.tool == RESULT


def refusal_of(request: WorkerRequest, evidence: Evidence) -> str:
    """Why a result may not leave as it is, about which was asked, in words for the agent."""
    if request.response is not None and request.response.verdict == "denied":
        return words_of(request.response)
    if request.status is RequestStatus.EXPIRED:
        return NOBODY_AGREED
    return "\n".join(f"{check.name}: {check.why}" for check in failing(evidence))


def words_of(answer: Answer) -> str:
    """Anything but an approval, as the agent is told it."""
    if not isinstance(answer, ControllerResponse):
        return NOBODY_AGREED
    if answer.verdict == "denied":
        return denial(answer)
    wanted = json.dumps(answer.changed_input, ensure_ascii=False)[:_LONGEST_REASONS]
    return f"The controller does not want it as it is, but so: {wanted} {answer.message}".strip()


async def _use(subject: Subject) -> tuple[ToolUse, str]:
    """The sensitive part of a result, as if it were a call. Raises NotAskable, GitFailed."""
    change = await change_in(subject, await subject.commits.diff(subject.base, subject.head))
    rulings = await asyncio.to_thread(still_sensitive, change, subject.sensitive, subject.grants)
    files = files_of(rulings, change, subject.grants)
    if not files:
        raise NotAskable("no file can be named that it is about")
    if len(files) > MOST_LEAVES:
        raise NotAskable(f"it is about more than {MOST_LEAVES} files")
    given: dict[str, JsonValue] = {
        "rules": {ruling.rule: list(ruling.subjects[:_SHOWN]) for ruling in rulings},
        "files": dict(files),
        "deleted": sum(left is None for left in files.values()),
    }
    if len(json.dumps(given)) > LARGEST_INPUT:
        raise NotAskable("its files have names that are longer than can be shown")
    names = tuple(ruling.rule for ruling in rulings)
    rule = listed(names)
    use = ToolUse(
        tool=RESULT,
        input=given,
        rule=rule,
        rules_whole=rules_of(rule) == names,
        digest=digest_of(RESULT, given, files, names),
        leaves=files,
        paths=tuple(files)[:MOST_PATHS],
        paths_whole=len(files) <= MOST_PATHS,
    )
    return use, "\n".join(ruling.reason for ruling in rulings)


def _message(use: ToolUse) -> str:
    return f"May the result change what is sensitive by {use.rule}: {_some(use)}?"


async def _context(subject: Subject, use: ToolUse, reasons: str) -> str:
    paths = tuple(use.leaves)[:_MOST_DIFFED]
    text = await subject.commits.diff_of(subject.base, subject.head, paths, _LONGEST_DIFF)
    return (
        f"{reasons[:_LONGEST_REASONS]}\n\nAll else that was checked is good. The change of these files (it may be cut):"
        f"\n\n{text.replace(chr(0), '')}"
    )


def _some(use: ToolUse) -> str:
    shown = ", ".join(" ".join(path.split())[:200] for path in tuple(use.leaves)[:_SHOWN])
    more = len(use.leaves) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _told(evidence: Evidence, why: str) -> Evidence:
    """Evidence that says `why` the sensitive change may not leave."""
    said = [check for check in evidence.checks if check.name == SENSITIVE_CHECK]
    told = [Check(name=check.name, outcome=CheckOutcome.FAILED, why=f"{why}\n{check.why}"[:10_000]) for check in said]
    checks = tuple(check for check in evidence.checks if check.name != SENSITIVE_CHECK)
    return evidence.model_copy(update={"checks": (*checks, *told)})
