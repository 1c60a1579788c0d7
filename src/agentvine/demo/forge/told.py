"""What a demo of the forge tells: each thing as it happens, and at the end how far it came."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentvine.demo.show import Show
from agentvine.domain.base import Model
from agentvine.kit.clock import SystemClock

_BEFORE = 24
"""Characters of a line before what happened."""
_AFTER = len("1234.5 s")
_WIDEST = 100
"""Characters of what happened, where no terminal is narrower."""


class Step(Model):
    """One of the things that had to happen. `proof` says by what it was seen; empty: it did not happen."""

    name: str
    seconds: float | None = None
    proof: str = ""

    @property
    def done(self) -> bool:
        return self.seconds is not None


class Account(Model):
    """All of it, as `--json` prints it."""

    remote: str
    """The repository, as it can be cloned afterwards."""
    repository: str
    issue: int
    pull_request: int | None = None
    tasks: tuple[str, ...] = ()
    """In the order in which they were made: the one of the issue, and those that followed its pull request."""
    executions: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    """Of Claude Code's; one, if the same conversation went on all the time."""
    merged_sha: str | None = None
    cost_usd: float = 0.0
    seconds: float
    steps: tuple[Step, ...]
    failure: str = ""
    """Why it did not come to its end."""

    @property
    def succeeded(self) -> bool:
        return not self.failure and all(step.done for step in self.steps)


class Told:
    """Prints on `console`, and keeps which steps were taken."""

    def __init__(self, console: Console, steps: Sequence[str]) -> None:
        self._console = console
        self._began = SystemClock().elapsed()
        self.steps = [Step(name=name) for name in steps]
        self.show = Show(console)

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return round(SystemClock().elapsed() - self._began, 1)

    def say(self, who: str, words: str) -> None:
        """Tell what somebody did."""
        room = max(self._console.width - _BEFORE, _BEFORE) if self._console.is_terminal else _WIDEST
        line = Text.assemble((f"{self.seconds:5.1f} s  ", "dim"), (f"{who:<14}", "bold"), " ", _short(words, room))
        self._console.print(line, soft_wrap=True)

    def took(self, name: str, proof: str) -> None:
        """A step was taken: the first of that name that was not yet."""
        place = next(number for number, step in enumerate(self.steps) if step.name == name)
        self.steps[place] = Step(name=name, seconds=self.seconds, proof=proof)

    def finale(self, account: Account) -> None:
        """How far it came, and where to look."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("step", no_wrap=True, min_width=max(len(step.name) for step in account.steps))
        table.add_column("after", no_wrap=True, min_width=_AFTER, justify="right")
        table.add_column("seen by", no_wrap=True)
        for step in account.steps:
            style = "green" if step.done else "red"
            after = "" if step.seconds is None else f"{step.seconds:.1f} s"
            proof = Text(_short(step.proof, _WIDEST) or "it did not happen", style="" if step.done else "red")
            table.add_row(Text(step.name, style=style), after, proof)
        self._console.print()
        self._console.print(table)
        if account.failure:
            self._console.print(Text(f"\n{account.failure}", style="red"))
        words = f"\n{len(account.executions)} executions of one issue in {account.seconds:.1f} s. Look at the result:"
        self._console.print(words, highlight=False)
        self._console.print(
            f"  git clone {account.remote} && cd purse && git log --graph --stat", highlight=False, soft_wrap=True
        )
        if account.succeeded:
            self._console.print(
                "\nThe model was [bold]scripted[/bold], and the forge a small one of the demo's own. "
                "Server, worker, Claude Code, git over HTTP with a token, webhooks, tests and merge were real."
            )


def _short(words: str, most: int) -> str:
    line = " ".join(words.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
