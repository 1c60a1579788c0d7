"""The folder of an execution is gone with it, however often it is told to stop."""

import asyncio
from pathlib import Path

from agentvine.kit.doorbell import pause
from agentvine.worker.place import place_of


async def test_an_execution_that_is_cancelled_again_and_again_leaves_no_folder_and_no_lock(tmp_path: Path) -> None:
    at_work = asyncio.Event()

    async def execution() -> None:
        async with place_of(tmp_path, "exe_1") as place:
            for number in range(300):
                (place.private / f"file-{number}").touch()
            at_work.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(execution())
    await at_work.wait()
    while not task.done():
        task.cancel()
        await pause(0.001)

    assert task.cancelled()
    assert list(tmp_path.iterdir()) == []
