"""Of the people's side: what operators say of repositories."""

from collections.abc import Sequence

from agentvine.domain.errors import Forbidden
from agentvine.domain.permission import PermissionLevel
from agentvine.domain.repository_settings import Repository, address_of
from agentvine.server.fleet_desk import FleetDesk
from agentvine.server.pages import id_cursor, page_of, slice_of
from agentvine.server.permits import hidden, known, permit
from agentvine.server.repositories import known_or_not_found
from agentvine.store import repositories
from agentvine.store.repositories import Known
from agentvine.store.unit import Unit
from agentvine.wire import administration as adm
from agentvine.wire import messages as m
from agentvine.wire import routes


class RepositoryDesk(FleetDesk):
    """A part of `FrontDesk`, for one key."""

    async def repositories(self, cursor: str | None = None, limit: int = 50) -> m.Page[Repository]:
        permit(self._key, routes.REPOSITORIES)
        after, part = id_cursor(cursor), slice_of(self._key, limit, None)
        mine = self._addresses()

        def look(unit: Unit) -> list[Repository]:
            return self._shown(unit, repositories.page(unit, after, None if mine is None else sorted(mine), part.limit))

        return page_of(await self._control.database.read(look), limit, lambda repository: repository.id)

    async def repository(self, repository_id: str) -> Repository:
        permit(self._key, routes.REPOSITORY)

        def look(unit: Unit) -> Repository:
            there = repositories.by_id(unit, known("repository", repository_id))
            return self._shown(unit, [self._visible(there, repository_id)])[0]

        return await self._control.database.read(look)

    async def add_repository(self, new: adm.NewRepository) -> adm.SavedRepository:
        permit(self._key, routes.ADD_REPOSITORY)
        self._permit_change()
        mine = self._addresses()
        if mine is not None and new.settings.address not in mine:
            raise Forbidden("this key is not for that repository", needs={"repository": new.settings.repository})
        ours, key = self._control.repositories, self._key
        return await self._control.database.write(lambda unit: ours.add(unit, new, key))

    async def change_repository(self, repository_id: str, changes: adm.RepositoryChanges) -> adm.SavedRepository:
        permit(self._key, routes.CHANGE_REPOSITORY)
        self._permit_change()
        ours, key = self._control.repositories, self._key
        return await self._control.database.write(
            lambda unit: ours.change(unit, self._locked(unit, repository_id), changes, key)
        )

    async def remove_repository(self, repository_id: str) -> Repository:
        permit(self._key, routes.REMOVE_REPOSITORY)
        self._permit_change()
        ours, key = self._control.repositories, self._key
        return await self._control.database.write(
            lambda unit: ours.remove(unit, self._locked(unit, repository_id), key)
        )

    def _shown(self, unit: Unit, found: Sequence[Known]) -> list[Repository]:
        """As they are shown, with what stands in the way just now."""
        unattended = self._control.errands.unattended(unit, found)
        shown = []
        for one in found:
            repository = self._control.repositories.shown(unit, one)
            troubles = [why for why in (unattended.get(repository.id), repository.trouble) if why]
            shown.append(repository.model_copy(update={"trouble": "; ".join(troubles) or None}))
        return shown

    def _addresses(self) -> frozenset[str] | None:
        """Of the repositories that the key is for; None: of any."""
        named = self._key.scope.repositories
        return frozenset(map(address_of, named)) if named else None

    def _visible(self, there: Known | None, repository_id: str) -> Known:
        found, mine = known_or_not_found(there, repository_id), self._addresses()
        if mine is not None and found.address not in mine:
            raise hidden("repository", repository_id)
        return found

    def _locked(self, unit: Unit, repository_id: str) -> Known:
        return self._visible(repositories.locked(unit, known("repository", repository_id)), repository_id)

    def _permit_change(self) -> None:
        """What is said holds for orders of every type and level."""
        scope = self._key.scope
        if scope.worker_types or scope.permission_level is not PermissionLevel.AUTONOMOUS:
            raise Forbidden(
                "what is said of a repository holds for all types and levels; this key's scope does not",
                needs={"scope": "all types and levels"},
            )
