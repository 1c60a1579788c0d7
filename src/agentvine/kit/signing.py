"""Ed25519 (RFC 8032) signatures, and the file in which a signing key is kept."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from agentvine.kit.sealed import SealBroken, read_private

_PRIVATE = 0o600


class KeyUnusable(Exception):
    """A key, or the file that should hold one, cannot be used; the message says what to mend."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """The public half."""

    _key: Ed25519PublicKey

    @classmethod
    def parse(cls, pem: bytes) -> Self:
        """Read it from PEM (SubjectPublicKeyInfo, RFC 8410). Raises KeyUnusable."""
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise KeyUnusable("it is no public key in PEM form") from None
        if not isinstance(key, Ed25519PublicKey):
            raise KeyUnusable("it is a public key of another kind; an Ed25519 key is needed")
        return cls(key)

    @property
    def id(self) -> str:
        """By what to know it: the SHA-256 of its 32 bytes, in hexadecimal."""
        return hashlib.sha256(self._key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()

    @property
    def pem(self) -> str:
        """As a file holds it: SubjectPublicKeyInfo (RFC 5280)."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """True if `signature` is one of `message` by the other half."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private half. Never shown."""

    _key: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Self:
        """A new one."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> VerifyingKey:
        """The half that may be shown to everybody."""
        return VerifyingKey(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """64 bytes, always the same for the same message."""
        return self._key.sign(message)


def read_or_make(path: Path) -> SigningKey:
    """The key in the PEM file `path` (PKCS #8, mode 0600); a new one is made if there is no such file.

    Of several that make one at once, all get the first. Raises KeyUnusable.
    """
    try:
        if not path.exists():
            _make(path)
        key = load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyUnusable(f"{path} holds no private key in PEM form without a password") from None
    except SealBroken as broken:
        raise KeyUnusable(str(broken)) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds a key of another kind; make one with: openssl genpkey -algorithm ed25519")
    return SigningKey(key)


def _make(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _PRIVATE), "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # whole, or not at all, and never over another
        except FileExistsError:
            pass
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise KeyUnusable(f"{path} cannot be made: {error.strerror}") from error
