"""The forge's git repository, on the disk and over HTTP."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from agentvine.demo.forge.access import Access
from agentvine.demo.repositories import DemoFailed, Git
from agentvine.kit.process import run

_SECONDS = 60.0
_LARGEST = 64 * 1024 * 1024
_CONTEXT = 3


class BareRepository:
    """`path` is the bare repository; `scratch` an existing folder for work trees."""

    def __init__(self, path: Path, scratch: Path, git: Git) -> None:
        self.path = path
        self._scratch = scratch
        self._git = git

    async def heads(self) -> dict[str, str]:
        """The branches, and the commit of each."""
        shown = "--format=%(objectname) %(refname:lstrip=2)"
        told = await self._git("for-each-ref", shown, "refs/heads", cwd=self.path)
        return {name: sha for sha, _, name in (line.partition(" ") for line in told.splitlines())}

    async def goes_together(self, base: str, head: str) -> bool:
        """Whether two commits can be merged without a conflict."""
        try:
            await self._git("merge-tree", "--write-tree", base, head, cwd=self.path)
        except DemoFailed:
            return False
        return True

    async def diff(self, base: str, head: str) -> str:
        """What `head` changes since it parted from `base`."""
        return await self._git("diff", f"{base}...{head}", cwd=self.path)

    async def hunk(self, base: str, head: str, path: str, line: int) -> str:
        """The part of the diff that ends at this line of the new file; empty if the line is not in it."""
        told = await self._git("diff", f"--unified={_CONTEXT}", f"{base}...{head}", "--", path, cwd=self.path)
        shown: list[str] = []
        number = 0
        for one in told.splitlines():
            if one.startswith("@@"):
                shown, number = [one], int(one.split("+")[1].split(",")[0].split(" ")[0]) - 1
            elif shown:
                shown.append(one)
                number += not one.startswith("-")
                if number == line and not one.startswith("-"):
                    return "\n".join(shown)
        return ""

    async def line_of(self, sha: str, path: str, words: str) -> int:
        """The number of the first line of a file that holds `words`. Raises DemoFailed if none does."""
        lines = (await self._git("show", f"{sha}:{path}", cwd=self.path)).splitlines()
        for number, line in enumerate(lines, 1):
            if words in line:
                return number
        raise DemoFailed(f"no line of {path} holds {words!r}")

    async def checked_out(self, sha: str, name: str) -> Path:
        """A fresh checkout of a commit."""
        where = self._scratch / name
        await self._git("clone", "--quiet", "--no-checkout", "--", str(self.path), str(where), cwd=self._scratch)
        await self._git("checkout", "--quiet", "--detach", sha, cwd=where)
        return where

    async def merge(self, target: str, head: str, message: str, author: str) -> str:
        """Merge `head` into the branch `target`, with a commit of `author`'s. Returns that commit."""
        where = await self.checked_out(f"origin/{target}", f"merge-{head[:12]}")
        address = f"{author}@example.org"
        who = {f"GIT_{role}_NAME": author for role in ("AUTHOR", "COMMITTER")}
        who |= {f"GIT_{role}_EMAIL": address for role in ("AUTHOR", "COMMITTER")}
        await self._git("merge", "--quiet", "--no-ff", "--no-gpg-sign", "-m", message, head, cwd=where, more=who)
        await self._git("push", "--quiet", "origin", f"HEAD:refs/heads/{target}", cwd=where)
        return (await self._git("rev-parse", "HEAD", cwd=where)).strip()


class GitOverHTTP:
    """Answers git's requests through `git http-backend`(1), for whoever shows the token.

    `pushed` is awaited after each push.
    """

    def __init__(self, root: Path, search_path: str, access: Access, pushed: Callable[[], Awaitable[None]]) -> None:
        self._root = root
        self._search_path = search_path
        self._access = access
        self._pushed = pushed

    async def __call__(self, request: Request) -> Response:
        """One request."""
        if not self._access.lets_in(request):
            return Response("who are you?", 401, {"WWW-Authenticate": 'Basic realm="forge"'})
        body = await request.body()
        done = await run(
            ["git", "http-backend"],
            cwd=None,
            env=self._environment(request, len(body)),
            stdin=body,
            timeout=_SECONDS,
            output_limit=_LARGEST,
        )
        if request.url.path.endswith("/git-receive-pack"):
            await self._pushed()
        return _understood(done.raw)

    def _environment(self, request: Request, size: int) -> dict[str, str]:
        return {
            "PATH": self._search_path,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "agentvine-bot",
            "REMOTE_ADDR": "127.0.0.1",
            "REQUEST_METHOD": request.method,
            "PATH_INFO": request.url.path,
            "QUERY_STRING": request.url.query,
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(size),
            "HTTP_CONTENT_ENCODING": request.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": request.headers.get("git-protocol", ""),
        }


def _understood(said: bytes) -> Response:
    """What a CGI program said, as an answer (RFC 3875, section 6)."""
    head, _, body = said.partition(b"\r\n\r\n")
    headers = dict(line.partition(": ")[::2] for line in head.decode("latin-1").split("\r\n"))
    status = int(headers.pop("Status", "200").split()[0])
    return Response(body, status, headers)
