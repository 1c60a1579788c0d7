"""What is wrong with the settings of a repository is told in words that say what to mend."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from agentvine.domain.mistakes import plainly
from agentvine.domain.repository_settings import RepositorySettings


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"repository": "shop"}, "write the repository as a URL"),
        ({"forge": "svn"}, "write one of github, gitlab, gitea, forgejo, none"),
        ({"permission_level": "any"}, "write one of human_required, supervised, autonomous"),
        ({"concurrency": 0}, "write 1 or more"),
        ({"concurrency": 1001}, "write 1000 or less"),
        ({"concurrency": 1.5}, "write a whole number"),
        ({"concurrency": "many"}, "write a whole number"),
        ({"budget_per_day_usd": -1}, "write 0 or more"),
        ({"budget_per_day_usd": float("inf")}, "write a number"),
        ({"budget_per_day_usd": "much"}, "write a number"),
        ({"default_branch": "a..b"}, "a branch name cannot hold"),
        ({"hosts": ["packages.example"]}, "write HOST:PORT"),
        ({"setup": ["a"] * 30}, "at most 20 are kept"),
        ({"setup": "make"}, "write a list"),
        ({"test": ["a\nb"]}, "on one line"),
        ({"protected": [""]}, "it is empty"),
        ({"protected": ["x" * 501]}, "at most 500 characters"),
        ({"intake": {"users": ["@ann"]}}, "without '@'"),
        ({"intake": {"label": 3}}, "write text"),
        ({"intake": {"look_seconds": 1}}, "write 5 or more"),
        ({"follow_up": {"enabled": "perhaps"}}, "write true or false"),
        ({"follow_up": {"tries": 99}}, "write 20 or less"),
        ({"nonsense": 1}, "there is no such field"),
    ],
)
def test_each_mistake_says_what_to_mend(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        RepositorySettings.model_validate({"repository": "https://git.example/a/b", **said})
    (told,) = [plainly(mistake) for mistake in refused.value.errors()]
    assert words in told
    assert not re.search(r"[Ii]nput|[Ss]tring|[Tt]uple|pattern|validation", told)
