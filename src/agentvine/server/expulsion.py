"""Sends away whoever waits with a key that has ended: long polls get their 401, streams of events end.

What this process revokes it acts on at once. What another one revokes, a key that expires and a secret whose overlap
is over are found within `LOOK_SECONDS`.
"""

from agentvine.domain.errors import Unavailable
from agentvine.kit.doorbell import pause
from agentvine.kit.logs import logger
from agentvine.server.keyring import KeyRing
from agentvine.server.permits import bad_key
from agentvine.server.waits import Waits

LOOK_SECONDS = 5.0
_log = logger("expulsion")


class Expulsion:
    """Between the keys and those who wait."""

    def __init__(self, keyring: KeyRing, waits: Waits) -> None:
        self._keyring = keyring
        self._waits = waits
        keyring.when_ended(self._expel)

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await pause(LOOK_SECONDS)
            try:
                await self.look()
            except Unavailable as error:
                _log.warning("keys of those who wait were not looked at", why=error.message)
            except Exception:  # noqa: BLE001  the outermost guard of this loop
                _log.exception("keys of those who wait were not looked at")

    async def look(self) -> None:
        """Send away those whose secret would open nothing now."""
        prefixes = self._waits.prefixes()
        if prefixes:
            ended = await self._keyring.ended(prefixes)
            self._waits.expel(lambda key: key.prefix in ended, bad_key)

    def _expel(self, key_id: str) -> None:
        self._waits.expel(lambda key: key.id == key_id, bad_key)
