"""Which server, and with which key: options, then the environment, then the context file that `agentvine up` leaves."""

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agentvine.cli.settings import Surroundings, surroundings

_HOW_TO_NAME_ONE = "name one with --url and --key, or set AGENTVINE_URL and AGENTVINE_API_KEY"


class ContextUnusable(Exception):
    """It is not known which server is meant, or with which key. The message says what to mend."""


@dataclass(frozen=True, slots=True)
class Context:
    """A server that runs, and a key for it."""

    url: str
    """Such as http://127.0.0.1:8420, without a path."""
    key: str = field(repr=False)
    data: Path
    """The directory in which that server keeps everything."""


def context_path(around: Surroundings | None = None) -> Path:
    """Where the context file is: `AGENTVINE_CONTEXT`, or `context.json` in the user's configuration directory."""
    chosen = (around or surroundings()).context
    if chosen is not None:
        return chosen.expanduser()
    from platformdirs import user_config_path

    return user_config_path("agentvine") / "context.json"


def write_context(context: Context, path: Path) -> None:
    """Leave `context` at `path` for the commands of this user alone (mode 0600), in place of what was there.

    Raises OSError if it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = json.dumps(asdict(context) | {"data": str(context.data)}, indent=2) + "\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def remove_context(context: Context, path: Path) -> None:
    """Take the file at `path` away if it still holds `context`; another server may have put its own there since."""
    with contextlib.suppress(ContextUnusable):
        if read_context(path) == context:
            path.unlink(missing_ok=True)


def read_context(path: Path) -> Context | None:
    """What `path` holds; None if there is no such file.

    Raises `ContextUnusable` if others may read it (it holds a key), or if it is not what `write_context` writes.
    """
    try:
        with path.open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ContextUnusable(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise ContextUnusable(
            f"{path} holds a key and others may read it (mode {mode:04o}); run `chmod 600 {path}`, "
            "and revoke the key if others use this machine"
        )
    return _parsed(content, path)


def _parsed(content: str, path: Path) -> Context:
    try:
        found = json.loads(content)
        return Context(url=_text(found["url"]), key=_text(found["key"]), data=Path(_text(found["data"])))
    except (ValueError, KeyError, TypeError) as error:
        raise ContextUnusable(
            f"{path} is not a context file; remove it and start `agentvine up` again, or {_HOW_TO_NAME_ONE}"
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value


def connection(url: str | None, key: str | None, around: Surroundings | None = None) -> tuple[str, str]:
    """The server's URL and the key to use: `url` and `key` if given, then the environment, then the context file.

    The context file's key goes to its own server only, never to another one that was named. Raises `ContextUnusable`.
    """
    around = around or surroundings()
    named = url or around.url
    secret = _checked(key or around.api_key)
    if named and secret:
        return _address(named), secret
    path = context_path(around)
    context = read_context(path)
    if context is None:
        if named:
            raise ContextUnusable(f"no key for {named}: give one with --key, or set AGENTVINE_API_KEY")
        raise ContextUnusable(
            f"no server is known ({path} does not exist): start one here with `agentvine up`, or {_HOW_TO_NAME_ONE}"
        )
    if named and _address(named) != _address(context.url):
        raise ContextUnusable(
            f"no key for {named}: the one in {path} belongs to {context.url}; "
            "give one with --key, or set AGENTVINE_API_KEY"
        )
    return _address(context.url), secret or context.key


def _checked(key: str | None) -> str | None:
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise ContextUnusable("the key holds characters that no key has; was it cut, or pasted with something else?")
    return key


def _address(url: str) -> str:
    address = url.strip().rstrip("/").removesuffix("/api/v1")
    if not address.startswith(("http://", "https://")) or address in {"http:", "https:"}:
        raise ContextUnusable(f"{url!r} is no server address; write it like http://127.0.0.1:8420")
    return address
