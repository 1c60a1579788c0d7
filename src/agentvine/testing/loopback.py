"""A TCP server on the loopback interface, as those that play others' parts in tests need one."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class LoopbackServer(ABC):
    """Serves on a free port while it is used as an async context manager; with its end every connection ends."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def attend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, which is closed afterwards. It may raise what a connection that breaks raises."""

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def address(self) -> str:
        """As the beginning of a URL."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self.break_links()

    async def break_links(self) -> None:
        """Break every connection that is there."""
        for link in self._links:
            link.cancel()
        if self._links:
            await asyncio.wait(set(self._links))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self.attend(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side hung up, or the connection was broken
        finally:
            self._links.discard(task)
            writer.close()
