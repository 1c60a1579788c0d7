"""A file that is encrypted at rest, and the key that opens it.

The content is sealed as a whole (Fernet of `cryptography`: AES-128-CBC with HMAC-SHA256), so that nobody without the
key can read it, or exchange a part of it. Files that others could read or write are refused: whoever mends the mode
has to know that their content may be known.
"""

import os
import stat
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

_LARGEST = 16 * 1024 * 1024
_PRIVATE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class SealBroken(Exception):
    """The file or its key cannot be used; the message says what to mend, and holds nothing secret."""


def key_beside(path: Path) -> Path:
    """Where the key of the sealed file `path` lies unless somebody says otherwise."""
    return path.with_name(f"{path.name}.key")


def read_key(path: Path) -> str:
    """The key in a file of mode 0600. Raises SealBroken."""
    return _checked(read_private(path).decode("ascii", "replace").strip(), str(path))


def make_key(path: Path) -> str:
    """A new key in a new file of mode 0600, in a directory that is made if it is missing. Raises SealBroken."""
    key = Fernet.generate_key().decode("ascii")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE), "w") as file:
            file.write(f"{key}\n")
    except OSError as error:
        raise SealBroken(f"{path} cannot be made: {error.strerror}") from error
    return key


def unseal(path: Path, key: str) -> bytes | None:
    """The content of the sealed file; None if there is no such file. Raises SealBroken."""
    if not path.exists():
        return None
    try:
        return Fernet(_checked(key, "the key")).decrypt(read_private(path))
    except InvalidToken:
        raise SealBroken(f"{path} cannot be opened with this key: it is another one, or the file was changed") from None


def seal(path: Path, key: str, content: bytes) -> None:
    """Write the sealed file, mode 0600, whole or not at all. Raises SealBroken."""
    token = Fernet(_checked(key, "the key")).encrypt(content)
    draft = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE), "wb") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise SealBroken(f"{path} cannot be written: {error.strerror}") from error


def _checked(key: str, name: str) -> str:
    try:
        Fernet(key)
    except ValueError:
        raise SealBroken(f"{name} is no key: it should be 32 bytes in URL-safe base64") from None
    return key


def read_private(path: Path) -> bytes:
    """The content of a file that is ours alone."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise SealBroken(f"{path} is no regular file")
            if found.st_uid not in {os.geteuid(), 0}:
                raise SealBroken(f"{path} belongs to somebody else; it has to be this user's own")
            if found.st_mode & _OTHERS:
                raise SealBroken(f"{path} is open to others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 {path}")
            return file.read(_LARGEST)
    except OSError as error:
        raise SealBroken(f"{path} cannot be read: {error.strerror}") from error
