"""A file that is encrypted at rest, and the key that opens it.

The content is sealed as a whole (Fernet of `cryptography`: AES-128-CBC with HMAC-SHA256), so that nobody without the
key can read it, or exchange a part of it. Files that others could read or write are refused: whoever mends the mode
has to know that their content may be known.
"""

import json
import os
import secrets
import stat
from pathlib import Path
from typing import Self

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


def read_or_make_key(path: Path) -> str:
    """The key in the file `path`; a new one is made if there is no such file. Of several that make one at once, all get
    the first. Raises SealBroken."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
        make_key(draft)
        try:
            os.link(draft, path)  # whole, or not at all, and never over another
        except FileExistsError:
            pass
        except OSError as error:
            raise SealBroken(f"{path} cannot be made: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)
    return read_key(path)


def is_key(text: str) -> bool:
    """Whether `text` has the form of a key."""
    try:
        _checked(text, "")
    except SealBroken:
        return False
    return True


class Vault:
    """Seals single values that are kept elsewhere, a database for instance. Each is bound to whose it is: put in
    another's place, it does not open."""

    def __init__(self, key: str) -> None:
        """Raises SealBroken for what is no key."""
        self._seal = Fernet(_checked(key, "the key"))

    @classmethod
    def passing(cls) -> Self:
        """One whose key ends with it."""
        return cls(Fernet.generate_key().decode("ascii"))

    def seal(self, owner: str, value: str) -> str:
        """`value`, sealed for `owner`."""
        return self._seal.encrypt(json.dumps([owner, value]).encode()).decode("ascii")

    def open(self, owner: str, sealed: str) -> str:
        """The value that was sealed for `owner`. Raises SealBroken."""
        try:
            theirs, value = json.loads(self._seal.decrypt(sealed))
        except (InvalidToken, ValueError):
            raise SealBroken("it was sealed with another key, or was changed") from None
        if theirs != owner:
            raise SealBroken("it was sealed for another")
        return str(value)


def _checked(key: str, name: str) -> str:
    try:
        Fernet(key)
    except ValueError:
        raise SealBroken(f"{name} is no key: it should be 32 bytes in URL-safe base64") from None
    return key


def read_private(path: Path) -> bytes:
    """The content of a file that is ours alone. Raises SealBroken for one that others may read or change, OSError."""
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
