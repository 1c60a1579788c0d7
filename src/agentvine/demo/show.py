"""What the demo looks like: a table that moves on a terminal, a line for each change elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from agentvine.demo.ledger import Ledger
from agentvine.demo.ledger import Line as OrderLine
from agentvine.domain.evidence import TestSummary
from agentvine.domain.task import Task
from agentvine.domain.work_order import OrderStatus

_WIDEST_DELIVERY = 22
"""Characters, so that the table fits a terminal of 80."""
_STYLES = {
    OrderStatus.PENDING: "dim",
    OrderStatus.RUNNING: "yellow",
    OrderStatus.WAITING: "magenta",
    OrderStatus.COMPLETED: "green",
    OrderStatus.FAILED: "red",
    OrderStatus.CANCELLED: "red",
}


class Show:
    """Shows progress on `console`, which should be standard error where standard output is for a program."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._said: dict[str, str] = {}

    def say(self, words: str) -> None:
        """Tell what is going on now."""
        self._console.print(f"[dim]… {words}[/dim]")

    @contextmanager
    def live(self, ledger: Ledger) -> Iterator[None]:
        """Show the table while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(_table(ledger), console=self._console, refresh_per_second=8, transient=True) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def update(self, ledger: Ledger) -> None:
        """Show what is new."""
        if self._live is not None:
            self._live.update(_table(ledger))
            return
        for task in ledger.tasks:
            state = _state(ledger, task)
            if self._said.get(task.id) != state:
                self._said[task.id] = state
                self._console.print(f"{ledger.seconds:5.1f} s  {task.asked.type:<9}{state}", highlight=False)

    def finale(self, ledger: Ledger, *, real: bool) -> None:
        """What was delivered, and where to look."""
        report = ledger.report()
        self._console.print()
        self._console.print(_delivered(ledger, report.orders))
        self._console.print(f"\nsix orders in [bold]{report.seconds:.1f} s[/bold]. Look at them:")
        self._console.print(
            f"  git clone {ledger.remote} && cd purse && git log --all --graph --stat", highlight=False, soft_wrap=True
        )
        if not real:
            self._console.print(
                "\nThe model was [bold]scripted[/bold]: what Claude said and did stood in a file beforehand. "
                "Server, workers, Claude Code, git and tests were real. The same with the real model, for a few cents:"
            )
            self._console.print("  ANTHROPIC_API_KEY=sk-ant-… agentvine demo --real", highlight=False, markup=False)


def _state(ledger: Ledger, task: Task) -> str:
    detail = ledger.details.get(task.id)
    if detail is None:
        return "submitted"
    last = ledger.last_execution(task.id)
    if detail.order.status is OrderStatus.RUNNING and last:
        return last.phase.value
    if detail.order.failure and detail.order.status is not OrderStatus.COMPLETED:
        return f"{detail.order.status} ({detail.order.failure.reason}: {detail.order.failure.detail[:200]})"
    return detail.order.status.value


def _table(ledger: Ledger) -> Group:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("worker", "task", "now", "turns", "cost"):
        table.add_column(column, justify="right" if column in {"turns", "cost"} else "left", no_wrap=True)
    for task in ledger.tasks:
        detail, last = ledger.details.get(task.id), ledger.last_execution(task.id)
        style = _STYLES[detail.order.status] if detail else "dim"
        usage = last.usage if last else None
        table.add_row(
            task.asked.type.value,
            task.asked.title,
            Text(_state(ledger, task), style=style),
            str(usage.turns) if usage else "",
            f"${usage.cost_usd:.3f}" if usage else "",
        )
    return Group(table, Text(f"{ledger.seconds:.0f} s", style="dim"))


def _delivered(ledger: Ledger, orders: tuple[OrderLine, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("type", "status", "tests", "cost", "seconds", "delivered"):
        table.add_column(column, justify="right" if column in {"cost", "seconds"} else "left", no_wrap=True)
    for line in orders:
        table.add_row(
            line.type.value,
            Text(line.status.value, style=_STYLES[line.status]),
            _proof(ledger, line),
            f"${line.cost_usd:.3f}",
            f"{line.seconds:.1f}",
            f"{(line.sha or '')[:7]} {line.branch or ''}"[:_WIDEST_DELIVERY],
        )
    return table


def _proof(ledger: Ledger, line: OrderLine) -> str:
    evidence = ledger.evidence.get(line.id)
    if line.type == "review" and evidence:
        return f"{len(evidence.findings)} findings"
    repairs = f", {line.repairs} repair" if line.repairs else ""
    return f"{_count(line.tests_before)} → {_count(line.tests_after)}{repairs}"


def _count(tests: TestSummary | None) -> str:
    if tests is None:
        return "-"
    if not tests.counted:
        return "red" if tests.failed else "green"
    return f"{tests.passed}" + (f" ({tests.failed} red)" if tests.failed else "")
