"""Which destinations the proxy lets through: a list of `host:port`, and a judgement on every address behind a name.

There are many ways to write an address (127.1, 0x7f.1, 2130706433, ::ffff:127.0.0.1) and a name may resolve to
anything. So only the two canonical spellings are understood at all, and what counts is the address that will really be
connected to: it must be public, unless the list names that very address.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's metadata service, the one whose address looks public
        # The IANA special-purpose registries, where versions of Python differ about them:
        *("100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15"),
        *("64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16", "fec0::/10"),
    )
)


class InvalidTarget(ValueError):
    """Not a `host:port` in canonical form; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where somebody wants to go. `host` is a name in lower case, or an address in canonical form."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_port: int | None = None) -> "Target":
        """Read `host:port`, an IPv6 address in brackets. Raises InvalidTarget."""
        host, port = _split(text)
        if port is None and default_port is None:
            raise InvalidTarget("the port is missing")
        number = default_port if port is None else _port(port)
        assert number is not None  # noqa: S101
        if text.startswith("["):
            return cls(str(_address(host, 6)), number)
        return cls(_host(host.lower().removesuffix(".")), number)

    @property
    def address(self) -> Address | None:
        """The address, if the host is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _split(text: str) -> tuple[str, str | None]:
    found = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?|([^:\[\]]*)(?::(.*))?", text)
    if found is None or not text.isascii():
        raise InvalidTarget("is not host:port")
    if found[1] is not None:
        return found[1], found[2]
    return found[3], found[4]


def _port(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,4}", text) or int(text) > 65_535:
        raise InvalidTarget("the port is not a number from 1 to 65535")
    return int(text)


def _address(text: str, version: int) -> Address:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise InvalidTarget("the address is not in its usual form") from None
    if address.version != version or "%" in text:
        raise InvalidTarget("the address is not in its usual form")
    return address


def _host(text: str) -> str:
    labels = text.split(".")
    if _NUMERIC.fullmatch(labels[-1]):  # whatever ends in a number is an address to somebody (URL Standard, hosts)
        return str(_address(text, 4))
    if len(text) > _LONGEST_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidTarget("the host is not a name")
    return text


class AllowList:
    """What an operator has allowed. An entry is `host:port`, where a host may begin with `*.` for all names below."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises InvalidTarget for an entry that makes no sense."""
        self._exact: set[Target] = set()
        self._below: set[Target] = set()
        for entry in entries:
            if entry.startswith("*."):
                self._below.add(Target.parse(entry[2:]))
            else:
                self._exact.add(Target.parse(entry))

    def admits(self, target: Target) -> bool:
        """Whether this may be asked for at all."""
        if target in self._exact:
            return True
        labels = target.host.split(".")
        above = (".".join(labels[start:]) for start in range(1, len(labels)))
        return target.address is None and any(Target(host, target.port) in self._below for host in above)

    def admits_address(self, address: Address, port: int) -> bool:
        """Whether a connection may go to this address, which a name resolved to or which was asked for."""
        return Target(str(address), port) in self._exact or is_public(address)


def is_public(address: Address) -> bool:
    """Whether this is an address of the internet: not of this machine, its networks or its provider's services.

    An IPv6 address that carries an IPv4 address is judged by both.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _TRANSLATED:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour is not None and not is_public(address.sixtofour):
            return False
    if any(address in network for network in _NEVER):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved
