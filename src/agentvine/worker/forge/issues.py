"""Issues as GitHub shows them, and Gitea and Forgejo, whose API is made after it. Pull requests are among them."""

from collections.abc import Iterable

from pydantic import JsonValue

from agentvine.domain.forge import ForgeComment, IssueSeen
from agentvine.worker.forge.answers import Value
from agentvine.worker.forge.base import ForgeRefused
from agentvine.worker.forge.connection import Refusal
from agentvine.worker.forge.repository_api import RepositoryApi
from agentvine.worker.forge.shown import MOST_LABELS, Text, When, body, built, latest, word


class User(Value):
    """Somebody."""

    login: Text = ""


class _Label(Value):
    name: Text = ""


class _Repository(Value):
    has_issues: bool = True


class Issue(Value):
    """An issue or a pull request."""

    number: int
    html_url: Text
    title: Text = ""
    body: Text = ""
    user: User | None = None
    created_at: When
    updated_at: When | None = None
    state: str = "open"
    labels: list[_Label | str] | None = None
    pull_request: dict[str, JsonValue] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is neither closed nor merged."""
        return self.state == "open"

    @property
    def is_pull(self) -> bool:
        """Whether it is a pull request."""
        return self.pull_request is not None

    @property
    def names(self) -> list[str]:
        """Of its labels."""
        return [one if isinstance(one, str) else one.name for one in self.labels or []]

    def seen(self, comments: Iterable[ForgeComment], forge: str) -> IssueSeen:
        """It with what was said there. Raises ForgeRefused for what has no place in `IssueSeen`."""
        return built(
            IssueSeen,
            forge,
            number=self.number,
            url=word(self.html_url),
            title=word(self.title),
            body=body(self.body),
            author=name_of(self.user),
            at=self.created_at,
            is_open=self.is_open,
            labels=tuple(word(name) for name in self.names[:MOST_LABELS]),
            is_pull=self.is_pull,
            comments=latest(comments),
        )


def name_of(user: User | None) -> str:
    """How somebody signs in; empty for one who is gone."""
    return word(user.login) if user is not None else ""


async def issue_if_there(api: RepositoryApi, number: int) -> Issue | None:
    """Its issue or pull request of that number; None for one that is not there, or was deleted.

    Raises Refusal for a repository that is not there, ForgeRefused for one without issues, and ForgeProblem.
    """
    try:
        return await api.one(Issue, f"issues/{number}")
    except Refusal as refusal:
        if refusal.status not in {404, 410}:
            raise
    await must_have_issues(api)
    return None


async def must_have_issues(api: RepositoryApi) -> None:
    """Raises Refusal for a repository that is not there, ForgeRefused for one without issues, and ForgeProblem."""
    if not (await api.one(_Repository)).has_issues:
        raise ForgeRefused(f"{api.forge}: issues are switched off in {api.path}; switch them on there")
