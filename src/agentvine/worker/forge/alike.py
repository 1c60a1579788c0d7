"""What windows onto forges ask in the same words, whichever forge it is."""

from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.connection import Connection, Refusal
from agentvine.worker.forge.desk import Value, understood


class _User(Value):
    login: str | None = None
    username: str | None = None


class _Repository(Value):
    has_issues: bool = True


async def signed_in_as(connection: Connection) -> str | None:
    """The name of the account that a token belongs to; None where it may not ask. Raises ForgeProblem."""
    try:
        told = await connection.get("user")
    except Refusal:
        return None
    user = understood(_User, told, connection.name)
    return user.login or user.username or ""


async def must_have_issues(connection: Connection, path: str) -> None:
    """Raises Refusal for a repository that is not there, ForgeRefused for one without issues, and ForgeProblem."""
    if not understood(_Repository, await connection.get(path), connection.name).has_issues:
        raise ForgeRefused(f"{connection.name}: issues are switched off in {path}; switch them on there")
