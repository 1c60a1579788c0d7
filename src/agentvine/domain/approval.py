"""What was approved of an order, as far as its result shows it: which files may be as somebody has agreed to them.

An approval is for one exact call. It says which files that call leaves behind, and how; a changed file of the result
that is exactly so needs no further approval, whoever made it, and one that differs by a byte does.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from agentvine.domain.evidence import ApprovedCall
from agentvine.domain.request import ControllerResponse, RequestKind, ToolUse, WorkerRequest

RESULT = "result"
"""The tool of a request that is about what a result changes, and not about one call."""
REGULAR = "100644"
"""The mode of an ordinary file, as git writes it."""
MOST_LEAVES = 2000
"""How many files one approval may name."""
_UNREADABLE = "\ufffd"
_MOST_NOTED = 200
_MOST_KEPT = 20_000


def blob_id(content: bytes) -> str:
    """The name of a file's content in a git repository, see git-hash-object(1)."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def leaf(mode: str, blob: str) -> str:
    """A file as `ToolUse.leaves` names it: its blob, with the mode before it unless that is `REGULAR`."""
    return blob if mode == REGULAR else f"{mode} {blob}"


@dataclass(frozen=True, slots=True)
class Grant:
    """An approval that was given."""

    request_id: str
    tool: str
    rule: str
    asked: str
    """What was asked, in words."""
    made_by: str
    changed: bool = False
    """True: the call was approved with another input."""
    leaves: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, request: WorkerRequest) -> Self | None:
        """What the answer to a request allows of a result; None if it is no approval of a call."""
        call, response = request.call, request.response
        if request.kind is not RequestKind.APPROVAL or call is None or response is None:
            return None
        if response.verdict != "approved":
            return None
        changed = response.changed_input
        # a call without its input, as `kept` makes it, leaves what it says
        leaves = call.leaves if changed is None or not call.input else _left_by_changed(call, changed)
        return cls.given(request.id, request.message, call.model_copy(update={"leaves": leaves}), response)

    @classmethod
    def given(cls, request_id: str, asked: str, call: ToolUse, response: ControllerResponse) -> Self:
        """What `response` allows, which approves of `call`, whose `leaves` are those of the call as it is made."""
        changed = response.changed_input is not None
        return cls(request_id, call.tool, call.rule, asked, response.made_by, changed, call.leaves)

    @classmethod
    def kept(cls, requests: Iterable[WorkerRequest], now: datetime) -> tuple[WorkerRequest, ...]:
        """Of an order's requests, newest first, those that allow something still, for its next execution: bounded, and
        without what only people need. Oldest first.
        """
        found: list[WorkerRequest] = []
        leaves = 0
        for request in requests:
            grant, call, response = cls.of(request), request.call, request.response
            if grant is None or call is None or response is None or _is_over(response, now):
                continue
            leaves += len(grant.leaves)
            if len(found) == _MOST_NOTED or leaves > _MOST_KEPT:
                break
            bare = call.model_copy(update={"input": {}, "leaves": dict(grant.leaves), "paths": ()})
            found.append(request.model_copy(update={"context": "", "options": (), "call": bare}))
        return tuple(reversed(found))

    @property
    def rules(self) -> frozenset[str]:
        """The names of the rules for the sake of which it was asked."""
        return frozenset(rules_of(self.rule))


def _is_over(response: ControllerResponse, now: datetime) -> bool:
    return response.valid_until is not None and response.valid_until <= now


def noted(grants: Sequence[Grant]) -> tuple[ApprovedCall, ...]:
    """What was approved, for the evidence."""
    return tuple(
        ApprovedCall(
            tool=grant.tool, rule=grant.rule, asked=grant.asked[:2000], made_by=grant.made_by, changed=grant.changed
        )
        for grant in grants[-_MOST_NOTED:]
    )


def rules_of(rule: str) -> tuple[str, ...]:
    """The names in `ToolUse.rule`."""
    return tuple(name for name in (one.strip() for one in rule.split(",")) if name)


def covered(path: str, left: str | None, grants: Iterable[Grant], rule: str = "") -> bool:
    """Whether somebody agreed to the file at `path` as it is: `left` is its `leaf`, None if it was deleted.

    `rule`: somebody who was told of this rule.
    """
    if _UNREADABLE in path:  # several names look like this one
        return False
    for grant in grants:
        if path in grant.leaves and grant.leaves[path] == left and (not rule or rule in grant.rules):
            return True
    return False


def _left_by_changed(call: ToolUse, changed: Mapping[str, object]) -> dict[str, str | None]:
    """What a call leaves that is made with another input: known where a whole file is written to the same place."""
    content = changed.get("content")
    same = changed.get("file_path") == call.input.get("file_path")
    if call.tool != "Write" or not same or not isinstance(content, str) or len(call.leaves) != 1:
        return {}
    (path, before), *_ = call.leaves.items()
    mode = before.rpartition(" ")[0] if before else ""
    try:
        return {path: leaf(mode or REGULAR, blob_id(content.encode()))}
    except UnicodeEncodeError:
        return {}
