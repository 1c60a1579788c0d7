"""What `agentvine up` tells people, and leaves for the other commands while it runs."""

import sys
from collections.abc import Callable

from agentvine.cli.context import Context, context_path, remove_context, write_context


class Announcement:
    """Made once; taken back when it is no longer true."""

    def __init__(self) -> None:
        self.take_back: Callable[[], None] = lambda: None
        """Let other commands no longer find the server. Does nothing if they never could."""

    def make(self, context: Context, workers: int) -> None:
        """Tasks are accepted now, and so many workers start."""
        path = context_path()
        try:
            write_context(context, path)
        except OSError as error:
            print(f"other commands will not find this server: {path} cannot be written: {error}", file=sys.stderr)
        else:
            self.take_back = lambda: remove_context(context, path)
        starting = "1 worker starts" if workers == 1 else f"{workers} workers start"
        starting = starting if workers else "no worker starts: tasks wait until one is started elsewhere"
        print(f"AgentVine is up at {context.url}; its data is in {context.data}; {starting}.")
        print("`agentvine submit --help` shows how to give it work, `agentvine tasks` what it does.", flush=True)
