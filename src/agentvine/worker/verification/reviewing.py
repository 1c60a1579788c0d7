"""The judgement of a review: what Claude found and what analysers found, placed on the diff, as one list."""

from dataclasses import dataclass

from agentvine.domain.evidence import Check, CommandRecord, Finding
from agentvine.domain.retry import FailureReason
from agentvine.worker.analysis.merging import merged
from agentvine.worker.analysis.places import Places
from agentvine.worker.git_errors import RepositoryProblem
from agentvine.worker.verification.analyses import Analyses, Analysis, UnderReview, lengths
from agentvine.worker.verification.checks import review_checks
from agentvine.worker.verification.found import Commands
from agentvine.worker.verification.review import Review, read_review
from agentvine.worker.verification.subject import Subject

_MOST = 300
"""Findings in the evidence; the gravest stay."""


class NothingRan(RepositoryProblem):
    """No analyser could be run on this worker, so no review can be done here."""

    reason = FailureReason.SETUP_FAILED


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What a review came to."""

    checks: tuple[Check, ...]
    findings: tuple[Finding, ...] = ()
    commands: tuple[CommandRecord, ...] = ()
    remarks: tuple[str, ...] = ()


async def analysed(subject: Subject, commands: Commands, analyses: Analyses) -> Analysis:
    """What analysers say of what is under review. Raises NothingRan, GitFailed, LimitExceeded."""
    under = UnderReview(
        commits=subject.commits,
        url=subject.url,
        since=subject.since,
        head=subject.base,
        commands=commands,
        folder=subject.folder,
        private=subject.private,
        access=subject.access,
    )
    analysis = await analyses.of(under)
    if analysis.nothing_ran:
        raise NothingRan(f"{analysis.check.why}: {'; '.join(analysis.remarks)}")
    return analysis


async def reviewed(subject: Subject, commands: Commands, analyses: Analyses, touched: list[str]) -> Reviewed:
    """The judgement of the agent's structured answer. `touched`: files that the agent changed.

    Raises what `analysed` raises.
    """
    analysis = await analysed(subject, commands, analyses)
    answer = read_review(subject.answer)
    claude, problems = ((), [answer]) if isinstance(answer, str) else await _placed(subject, analysis, answer)
    findings = merged(claude, analysis.findings)
    remarks = list(analysis.remarks)
    if len(findings) > _MOST:
        remarks.append(f"{len(findings) - _MOST} more findings, the least grave ones")
    return Reviewed(
        (*review_checks(touched, problems), analysis.check), findings[:_MOST], analysis.commands, tuple(remarks)
    )


async def _placed(subject: Subject, analysis: Analysis, review: Review) -> tuple[tuple[Finding, ...], list[str]]:
    files = {finding.file for finding in review.findings}
    places = Places(await lengths(subject.commits, subject.base, files), analysis.change.shown)
    problems = [places.problem(finding.file, finding.line) for finding in review.findings]
    return review.findings, [problem for problem in problems if problem]
