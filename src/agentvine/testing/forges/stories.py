"""What a lookout is asked for, and what has to come of it on any forge."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from agentvine.domain.errand import LookAtIssue, LookAtPull, LookForWork, RunAgain, Say
from agentvine.domain.forge import PullHead
from agentvine.testing.forges.played import BRANCH, HEAD
from agentvine.testing.forges.server import ForgeServer
from agentvine.testing.forges.world import BEGAN, BOT, CALC, NAME, OWNER
from agentvine.worker.forge.base import Lookout
from agentvine.worker.forge.marking import begin, end, marked

MARK = "wo_0123_status"
URL = f"https://forge.example/{OWNER}/{NAME}"
LOG = (
    "".join(f"line {number}\n" for number in range(300))
    + "\x1b[31mE  assert\x1b[0m area(2) == 12.6\r\n 10%\r 50%\r100%\n\x00\x07the end \x1b]0;title\x07\n"
)

Story = Callable[[ForgeServer, Lookout], Awaitable[object]]


def a_wish(text: str = "It is being worked on.", **more: object) -> Say:
    return Say.model_validate({"repository": URL, "number": 1, "mark": MARK, "text": text, **more})


def a_look() -> LookAtPull:
    return LookAtPull(repository=URL, branch=BRANCH)


async def looking(server: ForgeServer, lookout: Lookout) -> None:
    """At a pull request whose checks failed, on which was said something."""
    world = server.world
    world.add("other")
    world.add(BRANCH, state="closed")
    pull = world.add(BRANCH)
    world.fail("test (3.12)", "Run pytest", LOG)
    world.fail("lint", "ruff", "E501\n").state = "success"
    world.statuses = {"coverage": "failure", "style": "success"}
    said = world.talk(pull.number, "mira", "Why\x00 not 2?")
    first = world.talk(pull.number, "noor", "This is wrong.", "calc.py", 3)
    world.talk(pull.number, BOT, "It is mended.", "calc.py", 3, first.id)
    world.talk(pull.number, "mira", begin("copied"))
    seen = await lookout.pull(a_look())
    assert seen is not None
    assert (seen.number, seen.state, seen.branch, seen.target, seen.head_sha) == (3, "open", BRANCH, "main", HEAD)
    assert seen.url.endswith("/3")
    assert (seen.checks, seen.conflicts) == ("failed", False)
    job, status = sorted(seen.failed, key=lambda one: one.name, reverse=True)
    assert (job.name, job.step, job.can_run_again) == ("test (3.12)", "Run pytest" if server.steps else "", True)
    assert job.log.splitlines()[-3:] == ["E  assert area(2) == 12.6", "100%", "the end"]
    assert job.log.startswith("line 103\n")
    assert (status.name, status.can_run_again) == ("coverage", False)
    assert [(one.author, one.body, one.ours) for one in seen.comments] == [
        ("mira", "Why not 2?", False),
        ("noor", "This is wrong.", False),
        (BOT, "It is mended.", True),
        ("mira", begin("copied"), True),
    ]
    assert len({one.id for one in seen.comments}) == 4
    general, remark, answer, _ = seen.comments
    assert (general.file, general.thread, general.line) == (None, None, None)
    assert general.at == said.at
    assert (remark.file, remark.line) == (answer.file, answer.line) == ("calc.py", 3)
    assert remark.thread is not None
    assert remark.thread == answer.thread
    assert CALC.splitlines()[5] in remark.code


async def looking_for_work(server: ForgeServer, lookout: Lookout) -> None:
    """Labelled issues, and what was talked about since, by the clock of a forge that is five minutes behind."""
    world = server.world
    labelled = world.write("An area", "Please.", labels=("agentvine",))
    world.write("Done", labels=("agentvine",)).state = "closed"
    world.write("Something else")
    talked = world.write("Talked about")
    world.talk(talked.number, "mira", "/agentvine docs of an old day").changed = BEGAN - timedelta(days=9)
    pull = world.add("by-hand")
    quiet = world.add("quiet")
    command = world.talk(talked.number, "noor", "/agentvine bugfix")
    world.talk(pull.number, "mira", "/agentvine review", "calc.py", 3)
    strange = world.add("of-a-copy\u00a0")
    strange.ours = False
    world.talk(strange.number, "mira", "/agentvine review", "calc.py", 3)
    for talk in world.talks[:1]:
        talk.at = BEGAN - timedelta(days=9)
    found = await lookout.work(LookForWork(repository=URL, label="agentvine", since=BEGAN + timedelta(minutes=5)))
    issues = {one.number: one for one in found.issues}
    assert set(issues) == {labelled.number, talked.number, pull.number, strange.number}
    assert issues[pull.number].head == PullHead(branch="by-hand", own=True)
    assert issues[strange.number].head == PullHead(branch="of-a-copy\u00a0", own=False), "to the letter"
    assert issues[talked.number].head is None
    assert quiet.number not in issues
    one = issues[labelled.number]
    assert (one.title, one.body, one.author, one.is_open) == ("An area", "Please.", "mira", True)
    assert one.labels == ("agentvine",)
    assert not one.is_pull
    assert one.at == labelled.at
    assert [each.body for each in issues[talked.number].comments if each.at == command.at] == ["/agentvine bugfix"]
    assert issues[pull.number].is_pull
    (remark,) = issues[pull.number].comments
    assert (remark.body, remark.file) == ("/agentvine review", "calc.py")


async def looking_at_an_issue(server: ForgeServer, lookout: Lookout) -> None:
    """One that was closed, one that is a pull request, and one that never was."""
    world = server.world
    issue = world.write("An area", "Please.", labels=("agentvine", "urgent"))
    issue.state = "closed"
    world.talk(issue.number, "mira", "One.")
    world.talk(issue.number, BOT, "Two.")
    world.add(BRANCH)
    world.talk(2, "noor", "Three.", "calc.py", 3)
    seen = await lookout.issue(LookAtIssue(repository=URL, number=1))
    assert seen is not None
    assert (seen.title, seen.is_open, set(seen.labels), seen.is_pull) == (
        "An area",
        False,
        {"agentvine", "urgent"},
        False,
    )
    assert [(one.body, one.ours) for one in seen.comments] == [("One.", False), ("Two.", True)]
    as_pull = await lookout.issue(LookAtIssue(repository=URL, number=2, is_pull=True))
    assert as_pull is not None
    assert as_pull.is_pull
    assert [one.body for one in as_pull.comments] == ["Three."]
    assert await lookout.issue(LookAtIssue(repository=URL, number=9)) is None


async def saying(server: ForgeServer, lookout: Lookout) -> None:
    """Something new, then something else in its place."""
    server.world.write("An area")
    said = await lookout.say(a_wish())
    (talk,) = server.world.talks
    assert talk.author == BOT
    assert said.at is not None
    assert talk.body == f"{begin(MARK)}\nIt is being worked on.\n\n{end(MARK)}"
    assert str(talk.id) in said.url
    again = await lookout.say(a_wish("It is done."))
    assert (again.id, again.url) == (said.id, said.url)
    assert again.at is not None
    assert again.at > said.at
    assert server.world.talks == [talk]
    assert "It is done." in talk.body


async def answering(server: ForgeServer, lookout: Lookout) -> None:
    """In the thread of a remark on a line, and once the thread was deleted, beside it."""
    pull = server.world.add(BRANCH)
    first = server.world.talk(pull.number, "noor", "This is wrong.", "calc.py", 3)
    server.world.talk(pull.number, "noor", "This too.", "calc.py", 4)
    thread = server.thread_of(first)
    said = await lookout.say(a_wish("It is mended.", is_pull=True, thread=thread))
    (talk,) = (one for one in server.world.talks if MARK in one.body)
    assert (talk.first, talk.path, talk.author) == (first.id, "calc.py", BOT)
    assert str(talk.id) in said.id
    assert (await lookout.say(a_wish("It is mended and tried.", is_pull=True, thread=thread))).id == said.id
    assert "and tried" in talk.body
    server.world.talks.clear()
    await lookout.say(a_wish("It is mended.", is_pull=True, thread=thread))
    (talk,) = server.world.talks
    assert (talk.path, talk.author) == ("", BOT)


async def tidying(server: ForgeServer, lookout: Lookout) -> None:
    """Of several of ours, one of them in the thread, the oldest stays."""
    pull = server.world.add(BRANCH)
    theirs = server.world.talk(pull.number, "noor", "This is wrong.", "calc.py", 3)
    ours = server.world.talk(pull.number, BOT, marked("Old.", MARK, 1000))
    server.world.talk(pull.number, BOT, marked("Older.", MARK, 1000))
    server.world.talk(pull.number, BOT, marked("Oldest.", MARK, 1000), "calc.py", 3, theirs.id)
    await lookout.say(a_wish(is_pull=True, thread=server.thread_of(theirs)))
    assert server.world.talks == [theirs, ours]
    assert "It is being worked on." in ours.body
    if server.issues_have_threads:
        await _tidying_an_issue(server, lookout)


async def _tidying_an_issue(server: ForgeServer, lookout: Lookout) -> None:
    """Where issues have calls of their own for it."""
    issue = server.world.write("An area")
    thread = server.thread_of(server.world.talk(issue.number, "noor", "Please."))
    first = await lookout.say(a_wish(number=issue.number, thread=thread))
    server.world.talk(issue.number, BOT, marked("Once more.", MARK, 1000))
    assert (await lookout.say(a_wish(number=issue.number, thread=thread))).id == first.id
    assert [MARK in one.body for one in server.world.talks] == [False, True, False, True]


async def running_again(server: ForgeServer, lookout: Lookout) -> None:
    """A check that failed; asked for twice it runs once more."""
    server.world.add(BRANCH)
    job = server.world.fail("test", "Run pytest", "E\n")
    wanted = RunAgain(repository=URL, check=server.check_of(job))
    await lookout.run_again(wanted)
    await lookout.run_again(wanted)
    assert (job.attempt, job.state) == (2, "running")


STORIES: tuple[Story, ...] = (
    looking,
    looking_for_work,
    looking_at_an_issue,
    saying,
    answering,
    tidying,
    running_again,
)
