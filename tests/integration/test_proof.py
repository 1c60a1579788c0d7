"""`agentvine verify`: a signed statement and a clone, and no server."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentvine.cli.main import app
from agentvine.cli.settings import environment
from agentvine.demo.repositories import Git
from agentvine.domain.evidence import Check, CheckOutcome, CommandRecord, Evidence
from agentvine.domain.statement import Statement, change_digest, envelope
from agentvine.domain.worker_types import TaskType
from agentvine.kit.signing import KeyUnusable, SigningKey, read_or_make

URL = "https://git.example.org/shop.git"


class Case:
    """A repository with one commit on another, the statement about it, and the server's key."""

    def __init__(self, where: Path) -> None:
        self.where = where
        self.repository = where / "shop"
        self.file = where / "evidence.json"
        self.key_file = where / "agentvine.pub"
        self.key = SigningKey.generate()
        self._git = Git(environment()["PATH"], where / "home")

    async def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
        return await self._git(*who, *arguments, cwd=self.repository)

    async def make(self) -> None:
        (self.where / "home").mkdir()
        self.repository.mkdir()
        await self.git("init", "-q", "-b", "main")
        self.base = await self.commit({"a.py": "1", "b.py": "2"})
        self.head = await self.commit({"a.py": "3", "caf\u00e9 \n.py": "4"})
        self.key_file.write_text(self.key.public.pem)
        self.write(self.statement(await self.digest()))

    async def commit(self, files: dict[str, str]) -> str:
        for name, content in files.items():
            (self.repository / name).write_text(content)
        await self.git("add", "-A")
        await self.git("commit", "-q", "-m", "x")
        return (await self.git("rev-parse", "HEAD")).strip()

    async def digest(self) -> str:
        trees = []
        for commit in (self.base, self.head):
            listed = (await self.git("ls-tree", "-r", "-z", commit)).split("\0")[:-1]
            split = [entry.partition("\t") for entry in listed]
            trees.append({path: (about.split()[0], about.split()[2]) for about, _, path in split})
        return change_digest(*trees)

    def statement(self, digest: str | None, outcome: CheckOutcome = CheckOutcome.PASSED) -> Statement:
        ran = CommandRecord(argv=("pytest",), where="result", exit_code=0, seconds=1, output_sha256="0" * 64)
        evidence = Evidence(
            execution_id="exe_01k9zq4r8w6x5v3n2m1b0c9d8f",
            task_id="tsk_01k9zq4r8w6x5v3n2m1b0c9d8f",
            type=TaskType.BUGFIX,
            made_at=datetime(2026, 1, 1, tzinfo=UTC),
            base_sha=self.base,
            head_sha=self.head,
            checks=(Check(name="tests pass", outcome=outcome, why="because"),),
            commands=(ran,),
            change_sha256=digest,
            not_checked=("that it is beautiful",),
        )
        return Statement(URL, self.head, evidence)

    def write(self, statement: Statement) -> None:
        self.file.write_text(envelope(statement, self.key.public.id, self.key.sign))

    async def verify(self, *more: str) -> tuple[int, str]:
        argv = ["verify", str(self.file), "--repo", str(self.repository), "--key", str(self.key_file), *more]
        done = await asyncio.to_thread(CliRunner().invoke, app, argv)  # it has a loop of its own
        return done.exit_code, done.output


@pytest.fixture
async def case(tmp_path: Path) -> Case:
    made = Case(tmp_path)
    await made.make()
    return made


async def test_what_holds_is_said_and_how_to_do_it_again(case: Case) -> None:
    code, said = await case.verify()
    assert code == 0, said
    assert case.head[:12] in said and "pytest" in said and "that it is beautiful" in said and "WRONG" not in said
    code, said = await case.verify("--json")
    told = json.loads(said)
    assert code == 0 and told["good"] and told["subject"] == {"repository": URL, "commit": case.head}


async def test_what_does_not_hold_is_said(case: Case) -> None:
    good = case.file.read_bytes()
    case.write(case.statement("0" * 64))
    code, said = await case.verify()
    assert code == 1 and "WRONG  what was changed is what was judged" in said
    case.write(case.statement(await case.digest(), CheckOutcome.FAILED))
    code, said = await case.verify()
    assert code == 1 and "the result did not pass: tests pass" in said
    case.write(replace(case.statement(await case.digest()), commit=case.base))
    code, said = await case.verify()
    assert code == 1 and "WRONG  the statement is about the commit" in said

    case.file.write_bytes(good.replace(b"e", b"f", 1))
    assert (await case.verify())[0] == 1
    case.file.write_bytes(good)
    case.key_file.write_text(SigningKey.generate().public.pem)
    code, said = await case.verify()
    assert code == 1 and "another key" in said
    case.key_file.write_text("no key")
    code, said = await case.verify()
    assert code == 1 and "no public key" in said and "Traceback" not in said


async def test_a_clone_without_the_commits(case: Case) -> None:
    await case.git("checkout", "-q", "--orphan", "other")
    await case.git("commit", "-q", "-m", "alone")
    await case.git("branch", "-D", "main")
    await case.git("reflog", "expire", "--expire=now", "--all")
    await case.git("gc", "-q", "--prune=now")
    code, said = await case.verify()
    assert code == 1 and "has no commit" in said


async def test_a_replaced_commit_deceives_nobody(case: Case) -> None:
    await case.git("replace", case.head, case.base)
    assert (await case.verify())[0] == 0


def test_the_servers_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "data" / "signing.key"
    made = read_or_make(path)
    assert read_or_make(path).public.id == made.public.id
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["signing.key"]
    path.chmod(0o644)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        read_or_make(path)
    path.chmod(0o600)
    path.write_text("x")
    with pytest.raises(KeyUnusable, match="no private key"):
        read_or_make(path)
