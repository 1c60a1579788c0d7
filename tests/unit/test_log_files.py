"""Log files do not grow without end, and whoever writes to one does not notice."""

import os
from pathlib import Path

from agentvine.kit.log_files import kept_small
from agentvine.testing.eventually import eventually


async def test_what_is_too_much_moves_to_an_older_file(tmp_path: Path) -> None:
    path, small = tmp_path / "server.log", tmp_path / "worker.log"
    small.write_bytes(b"few words")
    writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(writer, b"first " * 100)
    async with kept_small(tmp_path, most=500, look=0.01):
        await eventually(lambda: path.stat().st_size == 0)
        os.write(writer, b"second")
        assert path.read_bytes() == b"second"
        assert (tmp_path / "server.log.1").read_bytes() == b"first " * 100
        os.write(writer, b"third " * 100)
        await eventually(lambda: (tmp_path / "server.log.1").read_bytes() == b"second" + b"third " * 100)
    os.close(writer)
    assert small.read_bytes() == b"few words"
