"""How a result was proven: to look at, to keep as a signed file, and to check offline."""

import json
from pathlib import Path
from typing import Annotated

import typer

from agentvine.cli.call import Call
from agentvine.cli.command import REFUSED, Command, Json, TaskArgument, command

Statement = Annotated[Path, typer.Argument(metavar="FILE", help="What `agentvine evidence save` wrote.")]
Repository = Annotated[
    Path, typer.Option("--repo", metavar="DIR", help="A clone of the repository that has the result's commits.")
]
TrustedKey = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="The server's public key, from `agentvine evidence key`.")
]


@command("show", "agentvine evidence show 7k3m9x2p", "agentvine evidence show 7k3m9x2p --json")
async def show(call: Call, task: TaskArgument, as_json: Json = False) -> None:
    """Show how a result was proven.

    That is what the worker itself found out, where the agent could not reach: checks, commands, tests before and after.
    """
    from agentvine.cli.results import latest, print_evidence

    found = await latest(call.desk, task, "evidence", call.desk.evidence)
    if as_json:
        call.screen.json(found)
    else:
        print_evidence(call.screen, found)


@command("save", "agentvine evidence save 7k3m9x2p > evidence.json")
async def save(call: Call, task: TaskArgument) -> None:
    """Print the evidence as a signed statement, for `agentvine verify` and for safe-keeping.

    It is an in-toto statement in a DSSE envelope, signed by the server when the evidence was recorded.
    """
    from agentvine.cli.results import latest

    call.screen.out.file.write(await latest(call.desk, task, "signed evidence", call.desk.statement))


@command("key", "agentvine evidence key > agentvine.pub", "agentvine evidence key --json")
async def key(call: Call, as_json: Json = False) -> None:
    """Print the public key by which this server signs evidence. Fetch it once, over a way that you trust."""
    found = await call.desk.signing_key()
    if as_json:
        call.screen.json(found)
    else:
        call.screen.out.file.write(found.pem)


def _schema() -> None:
    """Print the JSON Schema of evidence. Needs no server."""
    from agentvine.domain.evidence import Evidence

    print(json.dumps(Evidence.model_json_schema(mode="serialization"), indent=2, sort_keys=True))


schema = Command("schema", _schema, ("agentvine evidence schema > evidence.schema.json",))


def _verify(file: Statement, repo: Repository, key: TrustedKey, as_json: Json = False) -> None:
    """Check a result's evidence offline: that the server signed it, and that the repository holds what it speaks of.

    Needs git and no server. Exit codes: 0 all of it holds and the result had passed; 1 something does not, and it is
    told what.
    """
    import asyncio

    from agentvine.cli.proof import examine

    found = asyncio.run(examine(file, repo, key))
    if as_json:
        print(found.as_json())
    else:
        found.print()
    if not found.good:
        raise typer.Exit(REFUSED)


verify = Command(
    "verify",
    _verify,
    (
        "agentvine verify evidence.json --repo . --key agentvine.pub",
        "agentvine verify evidence.json --repo ~/src/shop --key agentvine.pub --json",
    ),
)
