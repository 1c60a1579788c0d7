"""Sees to it that each worker type has a key: python3 worker_keys.py SERVER ADMIN_KEY_FILE DIRECTORY

Every folder of DIRECTORY is named like a worker type; its file `key` holds the secret of a key for workers of that type
alone; but docs workers also run the errands at forges, which takes a key for all types. One that the server does not
know (any more) is replaced, one that it knows is left. Standard library only. It is run again at every start, and says
nothing of the secrets.
"""

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_SECONDS = 10
_ERRANDS = "docs"
_DIRECTLY = build_opener(ProxyHandler({}))


def ask(server: str, key: str, path: str, body: object = None) -> dict[str, object]:
    """What the server answers. Raises HTTPError for a refusal, OSError if it is not there."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = Request(f"{server.rstrip('/')}/api/v1{path}", data, headers)  # noqa: S310  the operator's own address
    with _DIRECTLY.open(request, timeout=_SECONDS) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def opens(server: str, file: Path) -> bool:
    """True if the file holds a key that the server knows."""
    if not file.exists():
        return False
    try:
        ask(server, file.read_text(encoding="ascii").strip(), "/keys/me")
    except HTTPError as refusal:
        if refusal.code == 401:
            return False
        raise
    return True


def make(server: str, admin_key: str, file: Path) -> None:
    """Leave a new key in `file`, for this user alone."""
    kind = file.parent.name
    scope = {"role": "worker", "worker_types": [] if kind == _ERRANDS else [kind]}
    made = ask(server, admin_key, "/keys", {"name": f"worker-{kind}", "scope": scope})
    draft = file.with_name("draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(f"{made['secret']}\n", encoding="ascii")
    draft.replace(file)


def main(server: str, admin_key_file: str, directory: str) -> None:
    admin_key = Path(admin_key_file).read_text(encoding="ascii").strip()
    for folder in sorted(each for each in Path(directory).iterdir() if each.is_dir()):
        file = folder / "key"
        if opens(server, file):
            print(f"{folder.name}: its key is good")  # noqa: T201  a program's output
        else:
            make(server, admin_key, file)
            print(f"{folder.name}: a key was made")  # noqa: T201  a program's output


if __name__ == "__main__":
    main(*sys.argv[1:])
