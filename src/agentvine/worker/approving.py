"""A call that needs somebody's approval, as it is asked for, and what was approved.

What somebody agrees to is the call with the files that its paths led to and the rules that it broke: where a link leads
elsewhere afterwards, the same input is another call.

Nobody can agree to what nobody is shown: a call that holds what looks like a secret, what cannot be written down or
more than a person could look through is not asked about.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue, ValidationError

from agentvine.domain.approval import REGULAR, Grant, blob_id, covered, leaf, rules_of
from agentvine.domain.request import ToolUse, WorkerRequest
from agentvine.kit.logs import HIDDEN, redact
from agentvine.kit.redaction import mapped
from agentvine.worker.agent.base import ToolCall
from agentvine.worker.agent.edits import content_after, writes_whole
from agentvine.worker.agent.shell_effects import only_deletes
from agentvine.worker.agent.tools import Judgement
from agentvine.worker.bare_repository import TreeFile
from agentvine.worker.hostile import Refused, read_beneath

LARGEST_INPUT = 200_000
"""Characters of a call's input, as JSON, that somebody can be asked to agree to."""
_LARGEST_FILE = 4 * 1024 * 1024
MOST_PATHS = 200
_LONGEST_RULES = 500
_LONGEST = 300
_LONGEST_CONTEXT = 50_000
_FILES = ("file_path", "notebook_path", "path")
_VERBS = {"Write": "write", "Edit": "change", "MultiEdit": "change", "NotebookEdit": "change"}
_NO_SUBJECT = "something"


class NotAskable(Exception):
    """Nobody can be asked to agree to it; the message says why, to the agent."""


def digest_of(tool: str, given: Mapping[str, JsonValue], *names: Iterable[str]) -> str:
    """SHA-256 over a tool, its input and sets of `names`, in canonical JSON: what a request and its answer are bound
    to."""
    return hashlib.sha256(_canonical(tool, given, *names).encode("utf-8", "replace")).hexdigest()


def _canonical(tool: str, given: Mapping[str, JsonValue], *names: Iterable[str]) -> str:
    content = [tool, dict(given), *(sorted(set(one)) for one in names)]
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Approvals:
    """What was approved for one order so far, by anybody."""

    def __init__(self) -> None:
        self._grants: dict[str, Grant] = {}

    def know(self, requests: Sequence[WorkerRequest]) -> None:
        """Take what was answered to earlier executions."""
        for request in requests:
            if (grant := Grant.of(request)) is not None:
                self.add(grant)

    def add(self, grant: Grant) -> None:
        self._grants[grant.request_id] = grant

    def drop(self, request_id: str) -> None:
        """What was agreed to once was denied when it was asked again."""
        self._grants.pop(request_id, None)

    @property
    def grants(self) -> tuple[Grant, ...]:
        return tuple(self._grants.values())


class Foresight:
    """What files will be after a call, of which the one before is known."""

    def __init__(
        self, workspace: Path, base: Callable[[], Awaitable[Sequence[TreeFile]]], approvals: Approvals
    ) -> None:
        """`base`: the files of the commit on which the work began."""
        self._workspace = workspace
        self._base = base
        self._approvals = approvals
        self._files: Mapping[str, TreeFile] | None = None

    async def leaves(self, call: ToolCall, paths: Sequence[str]) -> dict[str, str | None]:
        """What the one file that `call` writes will be. Empty if that is not known.

        A change of a file is known only where what the file is now is of the base or approved: whoever agrees to the
        change has not seen the rest. Raises GitFailed.
        """
        if len(paths) != 1 or paths[0].startswith(("/", "~")):
            return {}
        path, at_base = paths[0], (await self._at_base()).get(paths[0])
        mode = at_base.mode if at_base is not None and at_base.mode == "100755" else REGULAR
        before = None
        if not writes_whole(call):
            before = await asyncio.to_thread(self._content, path)
            if before is None:
                return {}
            now = blob_id(before)
            if (at_base is None or at_base.sha != now) and not covered(path, leaf(mode, now), self._approvals.grants):
                return {}
        content = content_after(call, before)
        return {} if content is None else {path: leaf(mode, blob_id(content))}

    async def takes_back(self, call: ToolCall, judgement: Judgement, leaves: Mapping[str, str | None]) -> bool:
        """Whether a call does no more than to make what is sensitive again what it is on the base. Never where to read
        it is sensitive, too.

        `leaves`: as above. Raises GitFailed.
        """
        at_base = await self._at_base()
        named = {path for ruling in judgement.rulings for path in ruling.files}
        if any(ruling.reading or len(ruling.subjects) > len(ruling.files) for ruling in judgement.rulings):
            return False
        if call.name == "Bash":
            if not named or not _only_deletes(call, judgement):
                return False
            return not any(file == path or file.startswith(f"{path}/") for file in at_base for path in named)
        return bool(named) and all(
            path in at_base and leaves.get(path) == leaf(at_base[path].mode, at_base[path].sha) for path in named
        )

    async def _at_base(self) -> Mapping[str, TreeFile]:
        if self._files is None:
            self._files = {file.path: file for file in await self._base()}
        return self._files

    def _content(self, path: str) -> bytes | None:
        try:
            return read_beneath(self._workspace, path, _LARGEST_FILE)
        except (OSError, ValueError, Refused):
            return None


def use_of(call: ToolCall, judgement: Judgement, leaves: Mapping[str, str | None]) -> ToolUse:
    """The call as somebody is asked to agree to it. Raises NotAskable."""
    _check_shown(call, judgement.paths)
    names = tuple(dict.fromkeys(ruling.rule for ruling in judgement.rulings))
    rule = listed(names)
    try:
        return ToolUse(
            tool=call.name,
            input=dict(call.input),
            rule=rule,
            rules_whole=rules_of(rule) == names,
            digest=digest_of(call.name, call.input, judgement.paths, names),
            leaves=dict(leaves),
            paths=judgement.paths[:MOST_PATHS],
            paths_whole=len(judgement.paths) <= MOST_PATHS,
        )
    except ValidationError:
        raise NotAskable("the call is not made as the tool wants it") from None


def listed(rules: Sequence[str]) -> str:
    """As many of these rules, by whole names, as `ToolUse.rule` can hold."""
    text = rules[0]
    for name in rules[1:]:
        if len(text) + len(name) + 2 > _LONGEST_RULES:
            break
        text = f"{text}, {name}"
    return text


def check_written(call: ToolCall, paths: Sequence[str] = ()) -> None:
    """Raises NotAskable for a call, or paths of it, that cannot be kept as text."""
    try:
        json.dumps(dict(call.input), allow_nan=False)
        _canonical(call.name, call.input, paths).encode()
    except UnicodeEncodeError:
        raise NotAskable("the call holds characters that cannot be shown") from None
    except (ValueError, TypeError, RecursionError):
        raise NotAskable("the call holds what cannot be written down") from None


def _check_shown(call: ToolCall, paths: Sequence[str]) -> None:
    """As above, for a call that somebody has to agree to and must be able to look through."""
    check_written(call, paths)
    if len(_canonical(call.name, call.input)) > LARGEST_INPUT:
        raise NotAskable(f"the call is larger than the {LARGEST_INPUT} characters that can be shown; make it smaller")
    if _holds_nul(call):
        raise NotAskable("the call holds characters that cannot be shown")
    if HIDDEN.value(dict(call.input)) != dict(call.input):
        raise NotAskable("the call holds what looks like a secret, which nobody is shown; leave that out")


def _holds_nul(call: ToolCall) -> bool:
    texts = [call.name]

    def seen(text: str) -> str:
        texts.append(text)
        return text

    mapped(dict(call.input), seen)
    return any("\0" in text for text in texts)


def _only_deletes(call: ToolCall, judgement: Judgement) -> bool:
    """Whether a command deletes files of the checkout, all of them known, and does nothing else."""
    command = call.input.get("command")
    gone = only_deletes(command) if isinstance(command, str) else None
    return gone is not None and len(gone) == len(judgement.deleted) and set(judgement.paths) == set(judgement.deleted)


def question_of(call: ToolCall, judgement: Judgement) -> tuple[str, str]:
    """What is asked about a call, and what one has to know to decide."""
    if call.name == "Bash":
        message = f"May the agent run `{_shown(call.input.get('command'))}`?"
    else:
        named = next((call.input[name] for name in _FILES if isinstance(call.input.get(name), str)), _NO_SUBJECT)
        place = judgement.paths[0] if len(judgement.paths) == 1 else named
        message = f"May the agent {_VERBS.get(call.name, 'read')} `{_shown(place)}`?"
    reasons = [ruling.reason for ruling in judgement.rulings]
    if isinstance(said := call.input.get("description"), str) and said.strip():
        reasons.append(f"The agent says of it: {_shown(said)}")
    return message, "\n".join(reasons)[:_LONGEST_CONTEXT]


def _shown(value: object) -> str:
    """In one line, not too long."""
    text = " ".join(redact(str(value)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
