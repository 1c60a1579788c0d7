"""What the agent's last message says, held against what was found out. Pure: words and facts in, contradictions out.

Only what is said plainly and can be looked up is judged: that a file was made, that so many tests pass, that nothing
else was changed. A sentence that has any doubt in it (a condition, a wish, a "not") is passed over, so that nobody is
called a liar for a turn of phrase.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from agentvine.worker.files import FileKind, kind_of

_LONGEST = 50_000
_SHOWN = 5
_FENCED = re.compile(r"^ {0,3}(```|~~~).*?^ {0,3}\1[^\n]*$", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"^\s*>[^\n]*$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")
_DOUBT = re.compile(
    r"\b(not|never|no need|without|unable|cannot|can|could|would|should|might|may|must|if|when|unless|until|once"
    r"|instead|revert\w*|remov\w*|delet\w*|renam\w*"
    r"|mov(?:e|ed|ing)|previous\w*|earlier|originally|already|will|want|wish|need(?:s|ed)?|todo"
    r"|suggest\w*|recommend\w*|please|try|tried|expect\w*|before|but|except|apart|other than|example|e\.g\.|like"
    r"|(?:base|main) (?:branch|commit)|upstream)\b|n't\b|\?$",
    re.IGNORECASE,
)
_FILE = (
    r"`?((?:[\w.-]+/)*[\w-][\w.-]*\."
    r"(?:py|pyi|js|jsx|mjs|cjs|ts|tsx|go|rs|java|kt|rb|c|h|cpp|sh|md|rst|toml|json|ya?ml|cfg|ini|sql))`?"
)
_MADE = re.compile(
    r"\b(?:added|created|wrote|written|put)\b(?:\s+(?:a|an|the|new|some|two|three|\d+|regression|unit|more|reproducing|its|and|"
    r"tests?|cases?|test\s+cases?|file|module|in|to|into|at|for\s+(?:it|this|that|the\s+\w+)))*\s+"
    + _FILE
    + r"(?!['\w/*])",
    re.IGNORECASE,
)
_EDITED = re.compile(
    r"\b(?:updated|modified|edited|changed|fixed)\s+(?:the\s+)?(?:file\s+)?" + _FILE + r"(?!['\w/*])", re.IGNORECASE
)
_TEST_NAMED = re.compile(
    r"\b(?:added|wrote|created)\b(?:\s+(?:a|an|the|new|regression|unit|reproducing|test|tests|and|named|called))*\s+`(test_\w+)(?:\(\))?`",
    re.IGNORECASE,
)
_ALL_PASS = re.compile(
    r"\b(?:all|every)\s+(?:of\s+)?(?:the\s+)?(?:(\d+)\s+)?(?:unit\s+)?tests?\s+(?:in\s+the\s+(?:suite|repository|project)\s+)?"
    r"(?:now\s+|still\s+)?(?:pass(?:es|ed|ing)?|(?:are|is)\s+(?:now\s+)?(?:passing|green))\b"
    r"|\b(?:the\s+)?(?:whole|full|entire|complete)\s+(?:test\s+)?suite\s+(?:now\s+|still\s+)?(?:pass(?:es|ed)|is\s+(?:now\s+)?green)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    r"\b(\d+)\s+(?:unit\s+)?tests?\s+(?:now\s+|still\s+)?(?:pass(?:ed|ing)?\b|are\s+(?:passing|green))|\b(\d+)\s+passed\b",
    re.IGNORECASE,
)
_ADDED_SO_MANY = re.compile(
    r"\b(?:added|wrote|created)\s+(\d+)\s+(?:new\s+)?(?:unit\s+|regression\s+)?tests\b", re.IGNORECASE
)
_ONLY = re.compile(
    r"\bonly\s+(?:changed|modified|touched|edited)\s+"
    + _FILE
    + r"|\bonly\s+"
    + _FILE
    + r"\s+(?:was|were|is)\s+(?:changed|modified|touched|edited)",
    re.IGNORECASE,
)
_NO_CODE = re.compile(
    r"\bno\s+(?:source|production|application|non-test)\s+(?:code|files?)\s+(?:was|were|has\s+been|have\s+been)\s+(?:changed|modified|touched|edited)"
    r"|\bonly\s+(?:the\s+)?tests?(?:\s+files?)?\s+(?:was|were)\s+(?:changed|modified|touched|added|edited)\b",
    re.IGNORECASE,
)
_NO_TESTS_TOUCHED = re.compile(
    r"\bno\s+(?:existing\s+)?tests?(?:\s+files?)?\s+(?:was|were)\s+(?:changed|modified|touched|edited|deleted)\b",
    re.IGNORECASE,
)
_SOME_ONLY = re.compile(
    r"\b(new|these|those|my|relevant|related|affected|added|following|remaining|other|selected)\b", re.IGNORECASE
)


_COMMIT = re.compile(
    r"\bcommit(?:ted)?\b(?:\s+(?:as|is|in|with|id|hash|sha|it|this))*[\s:(]+`?((?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a result. `tests` None: the runner did not name them."""

    changed: Collection[str]
    """Paths that differ between base and result, also of deleted files."""
    files: Collection[str]
    """All paths of the result."""
    tests: Collection[str] | None = None
    failing: Collection[str] = ()
    in_changed_files: int = 0
    """How many tests stand in files that were changed, or were not there before."""
    altered_tests: Collection[str] = ()
    """Files of tests from which a line is gone."""
    texts: Collection[str] = ()
    """What the changed files say."""


def contradictions(said: str, facts: Facts) -> tuple[str, ...]:
    """What a final message states that the facts contradict, a sentence for each, word for word as it was said."""
    found: dict[str, None] = {}
    for sentence in _sentences(said):
        for what in _against(sentence, facts):
            found.setdefault(f"you wrote “{_short(sentence)}”, but {what}")
    return tuple(found)


def named_commits(said: str) -> dict[str, str]:
    """The commits that a final message says were made, each with the sentence that says so."""
    sure = (sentence for sentence in _sentences(said) if not _DOUBT.search(sentence))
    return {found: _short(sentence) for sentence in sure for found in _COMMIT.findall(sentence)}


def _sentences(said: str) -> Iterator[str]:
    text = _QUOTED.sub("", _FENCED.sub("", said[:_LONGEST]))
    for sentence in _SENTENCE.split(text):
        bare = sentence.strip().strip("*_#- ").replace("**", "")
        if bare:
            yield bare


def _against(sentence: str, facts: Facts) -> Iterator[str]:
    if _DOUBT.search(sentence):
        return
    yield from _files(sentence, facts)
    yield from _tests(sentence, facts)
    yield from _nothing_else(sentence, facts)


def _files(sentence: str, facts: Facts) -> Iterator[str]:
    for path in dict.fromkeys((*_MADE.findall(sentence), *_EDITED.findall(sentence))):
        if not _known(path, facts.files) and not _known(path, facts.changed):
            yield f"the result has no file {path}"
        elif not _known(path, facts.changed):
            yield f"the result leaves {path} as it was"
    for name in _TEST_NAMED.findall(sentence):
        if not any(name in one for one in (*(facts.tests or ()), *facts.texts)):
            yield f"the result has no test {name}"


def _known(said: str, paths: Iterable[str]) -> bool:
    """Whether one of `paths` may be meant: people leave out the folders."""
    wanted = PurePosixPath(said.removeprefix("./")).parts
    return any(PurePosixPath(path).parts[-len(wanted) :] == wanted for path in paths) or any(
        PurePosixPath(path).name == wanted[-1] for path in paths if len(wanted) == 1
    )


def _tests(sentence: str, facts: Facts) -> Iterator[str]:
    if facts.tests is None:
        return
    everything = _ALL_PASS.search(sentence)
    if everything and facts.failing and not _SOME_ONLY.search(sentence):
        names = sorted(facts.failing)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        yield f"{len(names)} fail: {', '.join(names[:_SHOWN])}{more}"
    numbers = [int(one) for pair in _COUNTED.findall(sentence) for one in pair if one]
    if everything and everything[1]:
        numbers.append(int(everything[1]))
    for number in numbers[:1]:
        if number > len(facts.tests):
            yield f"there are {len(facts.tests)} tests"
    for number in map(int, _ADDED_SO_MANY.findall(sentence)):
        if number > facts.in_changed_files:
            yield f"the files of tests that you changed hold {facts.in_changed_files} tests"


def _nothing_else(sentence: str, facts: Facts) -> Iterator[str]:
    if _ONLY.search(sentence):
        named = [found[0] for found in re.finditer(r"[\w./-]+\.\w+", sentence)]
        more = sorted(path for path in facts.changed if not any(_known(one, [path]) for one in named))
        if more:
            yield f"these were changed, too: {', '.join(more[:_SHOWN])}"
    if _NO_CODE.search(sentence):
        code = sorted(path for path in facts.changed if kind_of(path) is FileKind.CODE)
        if code:
            yield f"the result changes {', '.join(code[:_SHOWN])}"
    if _NO_TESTS_TOUCHED.search(sentence) and facts.altered_tests:
        yield f"lines are gone from {', '.join(sorted(facts.altered_tests)[:_SHOWN])}"


def _short(sentence: str) -> str:
    words = " ".join(sentence.split())
    return words if len(words) <= 200 else f"{words[:200]}…"
