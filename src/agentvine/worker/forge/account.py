"""The account that a token belongs to: by its name, what we wrote is told from what others did."""

from agentvine.worker.forge.answers import Value, understood
from agentvine.worker.forge.connection import Connection, Refusal
from agentvine.worker.forge.shown import is_ours


class _User(Value):
    login: str | None = None
    username: str | None = None


class Account:
    """Who we are on a forge. `name`: where that is known already; else the forge is asked, once."""

    def __init__(self, connection: Connection, name: str | None) -> None:
        self._connection = connection
        self._name = name

    async def name(self) -> str | None:
        """None where the token may not ask for it. Raises ForgeProblem."""
        if self._name is None:
            self._name = await self._asked()
        return self._name or None

    async def _asked(self) -> str | None:
        try:
            told = await self._connection.get("user")
        except Refusal:
            return None
        user = understood(_User, told, self._connection.name)
        return user.login or user.username or ""

    def wrote(self, author: str, text: str) -> bool:
        """Whether that is ours, as far as is known by now."""
        return is_ours(self._name, author, text)
