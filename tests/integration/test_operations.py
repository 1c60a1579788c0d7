"""What people ask is answered whatever else the server's threads are busy with."""

import asyncio
import threading
from pathlib import Path

import httpx

from agentvine.server.application import openapi
from agentvine.server.terms import Terms
from agentvine.testing.http import http_site

MORE_THAN_THERE_ARE_THREADS = 100


async def test_operations_need_no_thread_once_they_are_put_together(sqlite_url: str, tmp_path: Path) -> None:
    async with http_site(sqlite_url, tmp_path, Terms()) as site:
        desk = await site.front_desk()
        assert await desk.workers() == ()
        loop, over = asyncio.get_running_loop(), threading.Event()
        busy = [loop.run_in_executor(None, over.wait) for _ in range(MORE_THAN_THERE_ARE_THREADS)]
        try:
            async with asyncio.timeout(60):
                assert await desk.workers() == ()
        finally:
            over.set()
            await asyncio.wait(busy)


async def test_the_document_of_all_operations_is_served(sqlite_url: str, tmp_path: Path) -> None:
    async with http_site(sqlite_url, tmp_path, Terms()) as site, httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{site.url}/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == openapi()
        assert "/openapi.json" in (await client.get(f"{site.url}/docs")).text
