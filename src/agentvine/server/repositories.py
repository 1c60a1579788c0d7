"""Repositories as the server knows them: what an operator says of them, and the secrets that are kept for them.

Secrets are sealed with a key that is not in the database. They leave the server in one way: to a worker that holds an
order or an errand on the repository, and each time the audit log says so.
"""

import json
import math
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import JsonValue, SecretStr, ValidationError

from agentvine.domain.audit import AuditKind
from agentvine.domain.errors import AgentVineError, Conflict, InvalidInput, Unavailable
from agentvine.domain.git_credential import Address, GitCredential, understood
from agentvine.domain.ids import new_id
from agentvine.domain.key import Key
from agentvine.domain.mistakes import plainly
from agentvine.domain.repository_settings import NewCredential, Repository, RepositorySettings
from agentvine.domain.worker_types import TaskType
from agentvine.kit.clock import Clock
from agentvine.kit.credential_command import ask_for_credential
from agentvine.kit.process import ProcessError, ProcessNotFound
from agentvine.kit.sealed import SealBroken, Vault
from agentvine.server.chronicle import actor_of
from agentvine.server.permits import not_found
from agentvine.server.refusals import pointer
from agentvine.store import audit, repositories
from agentvine.store.database import Database
from agentvine.store.repositories import Known
from agentvine.store.unit import Unit
from agentvine.wire import administration as adm
from agentvine.wire.channels import Ring
from agentvine.wire.lending import HandedCredential

_TOLD_EVERY, _REMEMBERED = 3600.0, 10_000
_Changed = Callable[[Unit, Repository], None]
_Loan = tuple[str, str | None, JsonValue, str]
"""A repository, its sealed secret, a worker and its key."""


@dataclass(frozen=True, slots=True)
class Safe:
    """What secrets are sealed with, and the commands that may give some, by the names that an operator gave them."""

    vault: Vault = field(default_factory=Vault.passing)
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Repositories:
    """The repositories of a server."""

    def __init__(self, database: Database, clock: Clock, safe: Safe) -> None:
        self._database = database
        self._clock = clock
        self._safe = safe
        self._told: list[_Changed] = []
        self._lent_at: OrderedDict[_Loan, float] = OrderedDict()

    def when_changed(self, tell: _Changed) -> None:
        """Have `tell` called, within the transaction, with each repository that is added or changed."""
        self._told.append(tell)

    # ── what is said of them ─────────────────────────────────────────────────────────────────────────────────────

    def add(self, unit: Unit, new: adm.NewRepository, key: Key) -> adm.SavedRepository:
        """Keep one. Raises `Conflict` if it is known, `InvalidInput`."""
        now = self._clock.now()
        repository = Repository(
            id=new_id("rep", now), settings=new.settings, created_at=now, created_by=key.id, updated_at=now
        )
        there = repositories.alike(unit, new.settings)
        if there is not None:
            raise Conflict(f"{there.address} is known already", status=there.repository.id)
        known = Known(repository, new.settings.address, named=_named(new.settings, {}, now))
        known = self._with_credential(known, new.credential) if new.credential is not None else known
        webhook = _webhook_secret() if new.webhook else None
        known = self._with_webhook(known, webhook)
        if not repositories.insert(unit, known):
            raise Conflict(f"{known.address} is known already", status="known")
        self._heed(unit, known.repository)
        said: dict[str, JsonValue] = {
            "settings": new.settings.model_dump(mode="json"),
            "credential": known.repository.credential,
            "webhook": "make" if new.webhook else None,
        }
        self._tell(unit, AuditKind.REPOSITORY_ADDED, known.repository, key, said)
        return adm.SavedRepository(repository=self.shown(unit, known), webhook_secret=webhook)

    def change(self, unit: Unit, known: Known, changes: adm.RepositoryChanges, key: Key) -> adm.SavedRepository:
        """Change one, which is locked. Raises `InvalidInput`, and `Conflict` if it would be the same as another."""
        settings = _patched(known.repository.settings, changes.settings)
        _check_same(unit, known, settings)
        now = self._clock.now()
        known = replace(
            known,
            repository=known.repository.model_copy(update={"settings": settings, "updated_at": now}),
            named=_named(settings, known.named_since, now),
        )
        if "credential" in changes.model_fields_set:
            known = self._with_credential(known, changes.credential)
        webhook = _webhook_secret() if changes.webhook == "make" else None
        if changes.webhook is not None:
            known = self._with_webhook(known, webhook)
        heirs = repositories.save(unit, known)
        self._heed(unit, known.repository)
        self._heed_all(unit, heirs)
        said: dict[str, JsonValue] = {"settings": changes.settings, "webhook": changes.webhook}
        if "credential" in changes.model_fields_set:
            said["credential"] = known.repository.credential
        self._tell(unit, AuditKind.REPOSITORY_CHANGED, known.repository, key, said)
        after = repositories.by_id(unit, known.repository.id) or known
        return adm.SavedRepository(repository=self.shown(unit, after), webhook_secret=webhook)

    def remove(self, unit: Unit, known: Known, key: Key) -> Repository:
        """Forget one, which is locked, and its secrets. Its orders go on by the rules for all, or by those of another
        one that their addresses mean now."""
        shown = self.shown(unit, known)
        self._heed_all(unit, repositories.delete(unit, shown.id))
        self._tell(unit, AuditKind.REPOSITORY_REMOVED, shown, key, {})
        return shown

    def shown(self, unit: Unit, known: Known) -> Repository:
        """As it is shown, with what it has cost today."""
        repository = known.repository
        spent = repositories.day(unit, repository.id, self._clock.now()).spent_usd
        return repository.model_copy(update={"spent_today_usd": round(spent, 6)})

    def _heed(self, unit: Unit, repository: Repository) -> None:
        """Let what was said hold for the orders that are there."""
        level = repository.settings.permission_level
        if level is not None:
            repositories.lower(unit, repository.id, level.rank)
        for type_ in TaskType:
            unit.ring(Ring(kind="claimable", type=type_, repository=repository.settings.repository))
        for tell in self._told:
            tell(unit, repository)

    def _heed_all(self, unit: Unit, ids: Iterable[str]) -> None:
        for repository_id in sorted(ids):
            if (known := repositories.locked(unit, repository_id)) is not None:
                self._heed(unit, known.repository)

    # ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────

    def webhook_secret(self, known: Known) -> str | None:
        """By which the forge's webhooks are known. Raises `Unavailable` if it cannot be opened."""
        return self._opened(known, "webhook", known.webhook)

    async def credential(self, known: Known, to: Mapping[str, JsonValue], key: Key) -> HandedCredential | None:
        """What is kept for it, for the holder of an order or an errand on it, which the caller has checked.

        `to` says for the audit log to whom and for what; of one worker's errands it tells once an hour. Raises
        `Unavailable` if it cannot be opened, or its command gives none.
        """
        secret = self._opened(known, "credential", known.secret)
        kept = NewCredential.model_validate_json(secret) if secret is not None else None
        if kept is None:
            return None
        url = known.repository.settings.repository
        credential = await self._given(kept, url)
        data = {**to, "repository_id": known.repository.id, "repository": url, "kind": known.repository.credential}
        draft = audit.Draft(AuditKind.CREDENTIAL_HANDED_OUT, self._clock.now(), actor_of(key), data)
        loan = (known.repository.id, known.secret, to.get("worker_id"), key.id) if "errand_id" in to else None
        if loan is None or self._clock.elapsed() - self._lent_at.get(loan, -math.inf) >= _TOLD_EVERY:
            await self._database.write(lambda unit: audit.append(unit, draft))
            self._remember(loan)
        forge = known.repository.settings.forge
        return HandedCredential(username=credential.username, secret=_plain(credential.secret), forge=forge)

    def _remember(self, loan: _Loan | None) -> None:
        """The audit log says so now: that is enough for an hour."""
        if loan is None:
            return
        self._lent_at[loan] = self._clock.elapsed()
        self._lent_at.move_to_end(loan)
        if len(self._lent_at) > _REMEMBERED:
            self._lent_at.popitem(last=False)

    async def _given(self, kept: NewCredential, url: str) -> GitCredential:
        address = Address.of(url)
        if kept.token is not None:
            return GitCredential(pattern=str(address), username=kept.username, secret=kept.token)
        found = await self._asked(str(kept.command), address)
        if found is None:
            raise Unavailable(f"the command {kept.command} gives no credential for {address}", retry_after=60.0)
        return found

    async def _asked(self, name: str, address: Address) -> GitCredential | None:
        """What the command says, as a credential helper of git's would (gitcredentials(7)). It is told no further."""
        argv = self._safe.commands.get(name)
        if not argv:
            raise Unavailable(f"this server has no credential command {name}; its settings name them", retry_after=60.0)
        try:
            done = await ask_for_credential(argv, scheme=address.scheme, host=address.host, path=address.path)
        except ProcessError as error:
            why = "there is no such program" if isinstance(error, ProcessNotFound) else "it did not end in time"
            raise _no_credential(name, why) from None
        if done.exit_code != 0:
            raise _no_credential(name, f"it ended with {done.exit_code}; run it by hand to see what it says")
        try:
            return understood(done.stdout, address)
        except ValidationError:
            raise _no_credential(name, "what it printed is no user name and password") from None

    def _with_credential(self, known: Known, credential: NewCredential | None) -> Known:
        kind = secret = None
        if credential is not None:
            if not known.address.startswith(("https://", "http://")):
                raise _invalid("/credential", "tokens are for addresses that start with https:// or http://")
            if credential.command is not None and credential.command not in self._safe.commands:
                names = ", ".join(sorted(self._safe.commands)) or "none"
                raise _invalid("/credential/command", f"the server's settings name no such command; they name: {names}")
            kind = "token" if credential.command is None else f"command {credential.command}"
            content = credential.model_dump_json(context={"plain": True})
            secret = self._safe.vault.seal(_owner(known, "credential"), content)
        return replace(known, secret=secret, repository=known.repository.model_copy(update={"credential": kind}))

    def _with_webhook(self, known: Known, secret: str | None) -> Known:
        sealed = self._safe.vault.seal(_owner(known, "webhook"), secret) if secret is not None else None
        return replace(
            known, webhook=sealed, repository=known.repository.model_copy(update={"webhook": secret is not None})
        )

    def _opened(self, known: Known, what: str, sealed: str | None) -> str | None:
        if sealed is None:
            return None
        try:
            return self._safe.vault.open(_owner(known, what), sealed)
        except SealBroken as broken:
            why = f"the {what} kept for {known.address} cannot be opened ({broken}): put back the key, or set it anew"
            raise Unavailable(why, retry_after=60.0) from None

    def _tell(
        self, unit: Unit, kind: AuditKind, repository: Repository, key: Key, data: Mapping[str, JsonValue]
    ) -> None:
        about = {"repository_id": repository.id, "repository": repository.settings.repository, **data}
        audit.append(unit, audit.Draft(kind, self._clock.now(), actor_of(key), about))


def _owner(known: Known, what: str) -> str:
    """What a secret is bound to: its repository, and what it is for."""
    return f"{known.address} {what}"


def _check_same(unit: Unit, known: Known, settings: RepositorySettings) -> None:
    """Raises `InvalidInput` if these are settings of another repository, `Conflict` if they would make two one."""
    if settings.address != known.address:
        same = known.repository.settings.folded == settings.address.lower()
        why = "the other is the same, and known by this" if same else "add the other one as a new repository"
        raise _invalid("/settings/repository", f"this is {known.address}; {why}")
    folded = settings.folded
    if folded is None or folded == known.repository.settings.folded:
        return
    there = repositories.alike(unit, settings, known.repository.id)
    if there is not None:
        both = f"{known.address} and {there.address}"
        why = f"on such a forge {both} are one, and both are known: remove one of them first"
        raise Conflict(why, status=there.repository.id)


def _named(settings: RepositorySettings, before: Mapping[str, datetime], now: datetime) -> dict[str, datetime]:
    """Since when each user is named. Forges tell whole seconds: what is said in the one that has begun counts."""
    return {user: before.get(user, now.replace(microsecond=0)) for user in settings.named}


def _webhook_secret() -> str:
    return secrets.token_urlsafe(32)


def _plain(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret is not None else ""


def _no_credential(name: str, why: str) -> AgentVineError:
    return Unavailable(f"the server's credential command {name} gave nothing: {why}", retry_after=60.0)


def _invalid(where: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[{"pointer": where, "message": message}])


def _patched(settings: RepositorySettings, changes: Mapping[str, JsonValue]) -> RepositorySettings:
    """Settings after a merge patch (RFC 7396). Raises `InvalidInput`."""
    try:
        return RepositorySettings.model_validate_json(json.dumps(_merged(settings.model_dump(mode="json"), changes)))
    except ValidationError as error:
        errors: list[JsonValue] = [
            {
                "pointer": f"/settings{pointer(one['loc'])}",
                "message": plainly(one),
            }
            for one in error.errors(include_url=False, include_input=False)
        ]
        words = "; ".join(f"{one['pointer']}: {one['message']}" for one in errors[:3] if isinstance(one, dict))
        raise InvalidInput(words, errors=errors[:50]) from None


def _merged(there: JsonValue, patch: Mapping[str, JsonValue]) -> JsonValue:
    merged = dict(there) if isinstance(there, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value) if isinstance(value, dict) else value
    return merged


def known_or_not_found(known: Known | None, repository_id: str) -> Known:
    """Raises `NotFound`."""
    if known is None:
        raise not_found("repository", repository_id)
    return known
