"""Looks for secrets wherever an execution could have left one, outside of its sandbox too, and says where they are."""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from agentvine.client.admin import HTTPFrontDesk
from agentvine.domain.task import Task
from agentvine.kit.process import run
from agentvine.testing.git_repository import ENV

_BUNDLE = b" git bundle\n"
_BATCH = ("cat-file", "--batch", "--batch-all-objects", "--unordered", "--buffer")


def forms_of(secret: str) -> Iterator[bytes]:
    """A secret as it travels: plain, in a URL, in JSON, in hexadecimal digits, in base64 after whatever else."""
    raw = secret.encode()
    yield from (raw, quote(secret, safe="").encode(), json.dumps(secret)[1:-1].encode(), raw.hex().encode())
    for before in range(3):
        coded = base64.b64encode(bytes(before) + raw)
        yield coded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


class Search:
    """Knows secrets by a name each. `found`: for each name, the kinds of places that hold it, with one of the places.

    Of each kind of place it is counted how much was looked at.
    """

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._names = {form: name for name, secret in secrets.items() for form in forms_of(secret)}
        self._pattern = re.compile(b"|".join(map(re.escape, self._names)))
        self.found: dict[str, dict[str, str]] = {name: {} for name in secrets}
        self.looked: dict[str, int] = {}

    def look(self, kind: str, where: str, content: bytes | str) -> None:
        """Look at one thing."""
        self.looked[kind] = self.looked.get(kind, 0) + 1
        raw = content.encode() if isinstance(content, str) else content
        for match in set(self._pattern.findall(raw)):
            self.found[self._names[match]].setdefault(kind, where)

    def processes(self) -> None:
        """What everybody sees of every process that runs now, and what its own user sees."""
        for process in Path("/proc").iterdir():
            if process.name.isdecimal():
                for kind, name in (("command line", "cmdline"), ("environment", "environ")):
                    content = _read(process / name)
                    self.look(kind, f"{process}/{name}: {content[:200]!r}", content)

    def files(self, root: Path, kinds: Mapping[str, str]) -> None:
        """All files below a folder, their names too. `kinds`: regular expressions for paths; the first counts."""
        for path in root.rglob("*"):
            place = str(path.relative_to(root))
            kind = next((kind for pattern, kind in kinds.items() if re.search(pattern, place)), "file")
            content = _read(path) if path.is_file() and not path.is_symlink() else b""
            self.look(kind, place, content + place.encode())

    async def commits(self, root: Path, whole: Path) -> None:
        """Everything in the git repositories below a folder, and in bundles there, which need what is in `whole`."""
        for head in root.rglob("HEAD"):
            if (head.parent / "objects").is_dir():
                self.look("commit", str(head.parent), await _git(head.parent, *_BATCH))
        scratch = root / "unbundled.git"
        await _git(root, "clone", "--quiet", "--bare", "--", str(whole), str(scratch))
        for path in [path for path in root.rglob("*") if path.is_file() and _BUNDLE in _read(path)[:40]]:
            await _git(scratch, "bundle", "unbundle", str(path))
        self.look("bundle", "all bundles", await _git(scratch, *_BATCH))

    async def shown(self, desk: HTTPFrontDesk, tasks: Iterable[Task]) -> None:
        """All that people are shown of tasks."""
        for task in tasks:
            detail = await desk.task(task.id)
            self.look("task", task.id, detail.model_dump_json())
            self.look("error message", task.id, str(detail.order.failure))
            for execution in detail.executions:
                page = await desk.transcript(execution.id)
                self.look("transcript", execution.id, page.model_dump_json())
                if execution.delivery is not None:
                    self.look("evidence", execution.id, (await desk.evidence(execution.id)).model_dump_json())
                    self.look("diff", execution.id, await desk.diff(execution.id))
        self.look("audit", "the audit log", (await desk.audit(limit=200)).model_dump_json())
        self.look("repository", "all repositories", (await desk.repositories(None, 50)).model_dump_json())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a process or a file that is gone, or no file of that kind
        return b""


async def _git(where: Path, *arguments: str) -> bytes:
    argv = ["git", "-c", "safe.directory=*", *arguments]  # some of them belong to the users of sandboxes
    done = await run(argv, cwd=where, env=ENV, timeout=60, output_limit=1 << 26)
    assert done.exit_code == 0, f"{argv}: {done.stderr}"
    return done.raw
