"""What a forge is asked to deliver, and what has to come of it on any forge."""

from collections.abc import Awaitable, Callable

from agentvine.testing.forges.played import BRANCH, ORDER, a_proposal, a_review
from agentvine.testing.forges.server import ForgeServer
from agentvine.worker.forge.base import Forge
from agentvine.worker.forge.marking import begin, end

Story = Callable[[ForgeServer, Forge], Awaitable[object]]


async def opening(server: ForgeServer, forge: Forge) -> None:
    """A pull request is opened."""
    url = await forge.propose(a_proposal())
    (pull,) = server.world.pulls
    assert url is not None
    assert url.endswith(f"/{pull.number}")
    assert (pull.title, pull.branch, pull.target, pull.state) == ("Area of a circle", BRANCH, "main", "open")
    assert pull.body.count(begin(ORDER)) == pull.body.count(end(ORDER)) == 1
    assert "computed with math.pi" in pull.body
    assert (pull.labels, pull.reviewers) == (["agentvine"], ["mira"])


async def renewing(server: ForgeServer, forge: Forge) -> None:
    """The same order comes with another text, and a person has written into the description."""
    pull = server.world.add(BRANCH, f"Please look, Noor.\n\n{begin(ORDER)}\nold words\n{end(ORDER)}\n\n- [x] looked")
    assert await forge.propose(a_proposal(text="new words")) is not None
    assert server.world.pulls == [pull]
    assert pull.body == f"Please look, Noor.\n\n{begin(ORDER)}\nnew words\n\n{end(ORDER)}\n\n- [x] looked"
    assert pull.title == "a title"


async def reviewing(server: ForgeServer, forge: Forge) -> None:
    """A review is posted."""
    pull = server.world.add(BRANCH)
    url = await forge.review(a_review())
    (posted,) = pull.reviews
    assert posted.done
    assert url is not None
    assert str(posted.id) in url
    assert posted.body.count(begin(ORDER)) == 1
    places = sorted((one.path, one.line) for one in posted.comments)
    assert places == [("calc.py", 5), ("doc/ä b.txt", 2)]
    for words in (
        "Some remarks.",
        "`calc.py:99`",
        "This line is not in the diff.",
        "`other.py:1`",
        "Nor is this file.",
    ):
        assert words in posted.body
    assert "Is this the end?" not in posted.body


async def reviewing_what_came_twice(server: ForgeServer, forge: Forge) -> None:
    """A call by which the review is written down was repeated on its way."""
    server.twice = True
    await reviewing(server, forge)


STORIES: tuple[Story, ...] = (opening, renewing, reviewing, reviewing_what_came_twice)
