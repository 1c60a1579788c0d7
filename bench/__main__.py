"""Measures, and prints a Markdown table.

python -m bench                      everything (about two minutes)
python -m bench claims latency       only these (claims, latency, questions, inbox, workspace, sandbox, restart)
python -m bench --json               for a program
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from agentvine.kit.logs import configure_logs
from bench import claims, inbox, latency, questions, restart, sandbox, workspace
from bench.report import Figure, table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure AgentVine on this machine.")
    parser.add_argument("what", nargs="*", metavar="WHAT", help="which benches (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median counts (default: 5)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    chosen = parser.parse_args()
    benches: Mapping[str, Callable[[], Awaitable[list[Figure]]]] = {
        "claims": partial(claims.measure, chosen.rounds),
        "latency": latency.measure,
        "questions": questions.measure,
        "inbox": partial(inbox.measure, chosen.rounds),
        "workspace": partial(workspace.measure, chosen.rounds),
        "sandbox": partial(sandbox.measure, chosen.rounds),
        "restart": restart.measure,
    }
    unknown = set(chosen.what) - set(benches)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; choose from {', '.join(benches)}")
    configure_logs(json=False, level="WARNING")
    figures = [figure for name in chosen.what or benches for figure in asyncio.run(_run(benches[name]))]
    print(json.dumps([figure.as_json() for figure in figures], indent=2) if chosen.json else table(figures))


async def _run(bench: Callable[[], Awaitable[list[Figure]]]) -> list[Figure]:
    return await bench()


main()
