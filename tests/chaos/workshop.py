"""What a run needs before it begins: a foundry, perhaps a PostgreSQL server, and what every ground begins with."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.chaos.foundry import Foundry
from tests.chaos.ground import Template, make_template
from tests.chaos.postgresql import postgresql


@asynccontextmanager
async def workshop(where: Path, database: str = "sqlite") -> AsyncIterator[tuple[Foundry, Template]]:
    """All of it, in a new directory; nothing of it is left."""
    async with AsyncExitStack() as stack:
        databases = None
        if database == "postgresql":
            where.mkdir(parents=True, exist_ok=True)
            databases = await stack.enter_async_context(postgresql(where / "pg"))
        foundry = await stack.enter_async_context(Foundry(where / "foundry"))
        yield foundry, await make_template(foundry, where / "template", databases)
