"""What a repository says of itself, stored beside a question for whoever answers it."""

import asyncio
import re
from dataclasses import dataclass, field

from agentvine.domain.errors import AgentVineError, LeaseLost
from agentvine.kit.logs import logger
from agentvine.kit.process import ProcessError
from agentvine.worker.bare_repository import BareRepository
from agentvine.worker.git_errors import GitFailed
from agentvine.worker.storing import Shelf

DOCUMENTS = "documents"
"""The name under which the server keeps them."""
LIMIT = 64 * 1024
"""Bytes that are kept of all of them together."""
_SECONDS = 10.0
_NAME = re.compile(r"claude\.md|readme(\.[a-z]{1,10})?", re.IGNORECASE)
_log = logger("documents")


@dataclass(slots=True)
class Documents:
    """Those of one commit, stored once. That they cannot be stored is no reason not to ask."""

    repository: BareRepository
    commit: str
    shelf: Shelf
    _stored: bool = field(default=False, init=False)

    async def store_once(self) -> None:
        """Store them, if there are any and it was not done before. Raises LeaseLost."""
        if self._stored:
            return
        self._stored = True
        try:
            async with asyncio.timeout(_SECONDS):
                content = await documents_of(self.repository, self.commit)
                if content:
                    shelf = self.shelf
                    await shelf.plane.store_artifact(shelf.execution_id, shelf.token, DOCUMENTS, content)
        except LeaseLost:
            raise
        except (AgentVineError, GitFailed, ProcessError, OSError, TimeoutError, ValueError) as error:
            _log.warning("no documents go with the question", why=str(error) or type(error).__name__)


async def documents_of(repository: BareRepository, commit: str) -> bytes:
    """CLAUDE.md and the readme files at the top of the tree, each below its name, cut to `LIMIT` bytes."""
    names = sorted(file.path for file in await repository.list_tree(commit) if _NAME.fullmatch(file.path))
    content = b""
    for name in names:
        left = LIMIT - len(content)
        if left <= 0:
            break
        text = await repository.read_file(commit, name, left)
        content += f"### {name}\n".encode() + (text or b"").strip() + b"\n\n"
    return content[:LIMIT]
