"""Whether a signed statement is genuine, and whether a clone holds what it speaks of. Asks no server."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agentvine.cli.settings import environment
from agentvine.cli.text import clean_line
from agentvine.domain.evidence import CheckOutcome, Evidence
from agentvine.domain.statement import LARGEST, NotGood, Statement, TreeEntry, change_digest, opened
from agentvine.kit.process import Completed, ProcessNotFound, ProcessTimeout, run
from agentvine.kit.signing import KeyUnusable, VerifyingKey

_GIT_SECONDS = 120.0
_LARGEST_TREE = 512 * 1024 * 1024
_PLAIN = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-replace-objects")
"""The clone is somebody's own, but what is asked of it must not depend on how it is set up."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found. `wrong` has a sentence for each thing that does not hold, `right` for each that does."""

    right: tuple[str, ...]
    wrong: tuple[str, ...]
    statement: Statement | None = None

    @property
    def good(self) -> bool:
        return not self.wrong

    def as_json(self) -> str:
        about = self.statement
        told = None if about is None else {"repository": about.repository, "commit": about.commit}
        evidence = None if about is None else about.evidence.model_dump(mode="json")
        whole = {"good": self.good, "holds": self.right, "wrong": self.wrong, "subject": told, "evidence": evidence}
        return json.dumps(whole, indent=2)

    def print(self) -> None:
        """Say it, what is wrong on standard error."""
        for sentence in self.right:
            print(f"ok     {clean_line(sentence)}")
        for sentence in self.wrong:
            print(f"WRONG  {clean_line(sentence)}", file=sys.stderr)
        if self.statement is not None:
            for sentence in _to_do_again(self.statement.evidence):
                print(clean_line(sentence))


class _Unknown(Exception):
    """Something could not be found out; the message says why."""


async def examine(file: Path, repository: Path, key: Path) -> Examined:
    """Look at a statement in `file`, at a clone, and at the public key in `key`."""
    try:
        public = VerifyingKey.parse(_read(key, 64 * 1024))
        statement = opened(_read(file, LARGEST + 1), public.id, public.verifies)
    except (KeyUnusable, NotGood, _Unknown) as error:
        which = key if isinstance(error, KeyUnusable) else file
        return Examined((), (f"{which}: {error}" if not isinstance(error, _Unknown) else str(error),))
    right = [f"signed by the server whose key is {public.id[:16]}…"]
    wrong: list[str] = []
    try:
        for sentence, holds in [*(await _in_repository(statement, repository)), *_verdict(statement.evidence)]:
            (right if holds else wrong).append(sentence)
    except _Unknown as error:
        wrong.append(str(error))
    return Examined(tuple(right), tuple(wrong), statement)


def _verdict(evidence: Evidence) -> Iterator[tuple[str, bool]]:
    failed = [check.name for check in evidence.checks if check.outcome in {CheckOutcome.FAILED, CheckOutcome.UNKNOWN}]
    if failed:
        yield f"the result did not pass: {', '.join(failed)}", False
    else:
        yield f"the result passed all of {len(evidence.checks)} checks", True


async def _in_repository(statement: Statement, repository: Path) -> list[tuple[str, bool]]:
    evidence = statement.evidence
    base, head = evidence.base_sha, evidence.head_sha or evidence.base_sha
    for commit in (base, head):
        if (await _git(repository, "cat-file", "-e", f"{commit}^{{commit}}")).exit_code != 0:
            raise _Unknown(f"{repository} has no commit {commit}; fetch the branch that was delivered")
    follows = (await _git(repository, "merge-base", "--is-ancestor", base, head)).exit_code == 0
    found = [
        ("the statement is about the commit that it was made for", statement.commit == head),
        (f"{head[:12]} is in the repository and comes after its base {base[:12]}", follows),
    ]
    if evidence.change_sha256 is None:
        return [*found, ("the statement does not say what was changed", False)]
    before, after = [await _tree(repository, commit) for commit in (base, head)]
    same = change_digest(before, after) == evidence.change_sha256
    return [*found, (f"what was changed is what was judged ({evidence.files_changed} files)", same)]


async def _tree(repository: Path, commit: str) -> dict[str, TreeEntry]:
    listed = await _git(repository, "ls-tree", "-r", "-z", "--full-tree", commit)
    if listed.exit_code != 0 or listed.truncated:
        raise _Unknown(f"the files of {commit} cannot be listed: {listed.stderr.strip()[:300]}")
    found = {}
    for entry in listed.raw.decode("utf-8", "replace").split("\0")[:-1]:
        about, _, path = entry.partition("\t")
        mode, _, sha = about.split(" ")
        found[path] = (mode, sha)
    return found


async def _git(repository: Path, *arguments: str) -> Completed:
    variables = {name: value for name, value in environment().items() if not name.startswith("GIT_")}
    argv = ["git", *_PLAIN, "-C", str(repository), *arguments]
    try:
        return await run(argv, cwd=None, env=variables, timeout=_GIT_SECONDS, output_limit=_LARGEST_TREE)
    except ProcessNotFound:
        raise _Unknown("git is needed, and it is not installed") from None
    except ProcessTimeout:
        raise _Unknown(f"git did not answer within {_GIT_SECONDS:g} s") from None


def _to_do_again(evidence: Evidence) -> Iterator[str]:
    """How a reader can find out the same for himself."""
    for record in evidence.commands:
        yield f"run   on {record.where}: {' '.join(record.argv)} (ended with {record.exit_code})"
    for gap in evidence.not_checked:
        yield f"not checked: {gap}"


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise _Unknown(f"{path} cannot be read: {error.strerror}") from error
