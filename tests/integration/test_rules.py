"""What an agent may not change does not leave, by whichever way it came into the result."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agentvine.demo.script import Scenario, Turn
from agentvine.domain.approval import Grant, blob_id
from agentvine.domain.evidence import CheckOutcome, Evidence
from agentvine.domain.retry import FailureReason
from agentvine.domain.sensitive import Sensitive
from agentvine.domain.tool_policy import CHECK, policy_of
from agentvine.domain.worker_types import TaskType
from agentvine.testing.git_repository import GitRepository, git
from agentvine.wire import messages as m
from agentvine.worker.conclusion import Delivered, Failed, Parked
from agentvine.worker.executor import TaskExecutor
from agentvine.worker.git import Git
from agentvine.worker.mirror import Mirror
from agentvine.worker.verification.policy import SENSITIVE_CHECK, change_of, policy_checks
from tests.integration.houses import FILES, FIXED, REPRODUCING, bash, commit, house, turn, write
from tests.integration.test_verify import BASE, court

TOKEN = "ghp_" + "a1" * 18
WORKFLOW = ".github/workflows/ci.yml"


class Repository:
    """A repository whose commits are judged by the rules alone."""

    def __init__(self, repository: GitRepository, mirror: Mirror, base: str) -> None:
        self.repository = repository
        self.mirror = mirror
        self.base = base

    async def judge(
        self,
        kind: TaskType,
        files: Mapping[str, str | bytes | None],
        tools: tuple[str, ...] = (),
        sensitive: Sensitive | None = None,
        grants: Sequence[Grant] = (),
    ) -> dict[str, str]:
        """Why a result with these files is not delivered, by check; the base stays what it is."""
        await self.repository.git("reset", "--quiet", "--hard", self.base)
        head = await self.repository.commit(files)
        await self.mirror.update()
        diff = await self.mirror.diff(self.base, head, 2000)
        change = await change_of(self.mirror, self.base, head, diff, kind, self.mirror.url)
        checks = policy_checks(change, policy_of(kind, tools), sensitive or Sensitive(), grants)
        assert {check.name for check in checks} == {CHECK, SENSITIVE_CHECK}
        return {check.name: check.why for check in checks if check.outcome is CheckOutcome.FAILED}


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    files = {"code.py": "x = 1\n" * 30, "test_a.py": "a\n", "README.md": "# A\n", "docs/a.md": "a\n"}
    many = {f"old/{number}.py": f"{number}\n" * 20 for number in range(15)}
    made = await GitRepository.create(tmp_path / "origin", {**files, **many})
    mirror = Mirror(Git(tmp_path / "home"), tmp_path / "mirrors", f"file://{made.path}")
    return Repository(made, mirror, await made.head())


@pytest.mark.parametrize(
    ("kind", "path", "good"),
    [
        (TaskType.DOCS, "docs/b.md", True),
        (TaskType.DOCS, "code.py", False),
        (TaskType.DOCS, "test_a.py", False),
        (TaskType.TEST, "test_b.py", True),
        (TaskType.TEST, "code.py", False),
        (TaskType.TEST, "README.md", False),
        (TaskType.REFACTOR, "code.py", True),
        (TaskType.REFACTOR, "test_a.py", False),
        (TaskType.FEATURE, "test_a.py", True),
        (TaskType.BUGFIX, "code.py", True),
    ],
)
async def test_each_type_changes_its_own_kind_of_file(
    repository: Repository, kind: TaskType, path: str, good: bool
) -> None:
    refused = await repository.judge(kind, {path: "changed\n"})
    assert (CHECK not in refused) is good
    assert good or path in refused[CHECK]
    removed = await repository.judge(kind, {path: None} if path in ("code.py", "test_a.py") else {path: "more\n"})
    assert (CHECK not in removed) is good


async def test_fewer_tools_narrow_the_result_too(repository: Repository) -> None:
    changed = {"code.py": "changed\n", "test_a.py": "changed\n"}
    assert await repository.judge(TaskType.FEATURE, changed) == {}
    refused = await repository.judge(TaskType.FEATURE, changed, tools=("test_write",))
    assert "code.py" in refused[CHECK]
    assert "test_a.py" not in refused[CHECK]


async def test_a_file_moved_away_counts_with_both_names(repository: Repository) -> None:
    moved = {"code.py": None, "docs/code.md": "x = 1\n" * 30}
    assert "code.py" in (await repository.judge(TaskType.DOCS, moved))[CHECK]


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({WORKFLOW: "on: push\n"}, "ci-and-deployment"),
        ({"requirements.txt": "leftpad\n"}, "dependencies"),
        ({"src/auth/login.py": "x\n"}, "security-and-auth"),
        ({"LICENSE": "free\n"}, "licences"),
        ({"app/migrations/1.py": "x\n"}, "database-migrations"),
        ({".env": "A=1\n"}, "credentials"),
        ({"code.py": "x = 1\n" * 30 + f"KEY = '{TOKEN}'\n"}, "credentials"),
        ({"code.py": f"++ {TOKEN}\n"}, "credentials"),
        ({"code.py": f"x = 1\n++ b/harmless\nKEY = '{TOKEN}'"}, "credentials"),
        ({"code.py": "filler = 'nothing'\n" * 500 + f"KEY = '{TOKEN}'\n" + "more = 2\n" * 500}, "credentials"),
        ({f"old/{number}.py": None for number in range(11)}, "deleting-many-files"),
    ],
)
async def test_a_sensitive_change_is_told_with_its_rule_and_can_be_allowed(
    repository: Repository, files: dict[str, str | bytes | None], rule: str
) -> None:
    refused = await repository.judge(TaskType.FEATURE, files)
    assert f"by the rule {rule}" in refused[SENSITIVE_CHECK]
    assert TOKEN not in refused[SENSITIVE_CHECK]
    allowed = Sensitive.model_validate({"allow": [{"rule": rule, "repositories": ["file:///*"]}]})
    assert await repository.judge(TaskType.FEATURE, files, sensitive=allowed) == {}


async def test_a_secret_is_told_with_its_file_whatever_the_lines_before_look_like(repository: Repository) -> None:
    files = {"a.py": "-- a/x\n++ b/x\n@@ -1 +1 @@\n", "b.py": f"++ b/x\n{TOKEN}", "c.py": "y\n"}
    refused = await repository.judge(TaskType.FEATURE, files)
    assert refused[SENSITIVE_CHECK].startswith("b.py (a line looks like a secret): sensitive")
    # What was there before is no secret that this change adds, nor is a header.
    harmless = {"code.py": "x = 1\n" * 29 + "x = 2", f"{TOKEN}.py": "y\n", "README.md": "# A\n\n"}
    assert await repository.judge(TaskType.FEATURE, harmless) == {}


async def test_a_change_that_is_too_large_to_be_looked_through_does_not_leave(repository: Repository) -> None:
    head = await repository.repository.commit({"code.py": "y = 1\n" * 1000})
    await repository.mirror.update()
    diff = await repository.mirror.diff(repository.base, head, 2000)
    about = (repository.mirror, repository.base, head, diff, TaskType.FEATURE, repository.mirror.url)
    whole, cut = await change_of(*about), await change_of(*about, longest=3000)
    assert (whole.operation.unread, cut.operation.unread) == (False, True)
    checks = policy_checks(cut, policy_of(TaskType.FEATURE), Sensitive())
    assert "too large to be looked through" in {check.name: check.why for check in checks}[SENSITIVE_CHECK]


async def test_what_was_approved_is_not_sensitive_any_more_and_what_differs_is(repository: Repository) -> None:
    files: dict[str, str | bytes | None] = {WORKFLOW: "on: push\n", "requirements.txt": "a\n"}
    grant = Grant("req_1", "Write", "ci-and-deployment", "May it?", "key:1", leaves={WORKFLOW: blob_id(b"on: push\n")})
    refused = await repository.judge(TaskType.FEATURE, files, grants=[grant])
    assert refused[SENSITIVE_CHECK].startswith("requirements.txt: sensitive by the rule dependencies")
    assert WORKFLOW not in refused[SENSITIVE_CHECK]
    more = replace(grant, leaves={"requirements.txt": blob_id(b"a\n")})
    assert await repository.judge(TaskType.FEATURE, files, grants=[grant, more]) == {}
    for other in ("on: push", "on: push\n\n"):
        refused = await repository.judge(TaskType.FEATURE, {WORKFLOW: other}, grants=[grant, more])
        assert WORKFLOW in refused[SENSITIVE_CHECK]
    moved = await repository.judge(TaskType.FEATURE, {"x/Dockerfile": "on: push\n"}, grants=[grant])
    assert "x/Dockerfile" in moved[SENSITIVE_CHECK], "the same content elsewhere is something else"


async def test_the_content_of_a_file_is_not_approved_as_a_link_or_a_program(repository: Repository) -> None:
    grant = Grant("req_1", "Write", "licences", "May it?", "key:1", leaves={"LICENSE": blob_id(b"code.py")})
    assert await repository.judge(TaskType.FEATURE, {"LICENSE": "code.py"}, grants=[grant]) == {}
    link = repository.repository.path / "LICENSE"
    await repository.repository.git("reset", "--quiet", "--hard", repository.base)
    link.symlink_to("code.py")
    assert "LICENSE" in (await repository.judge(TaskType.FEATURE, {}, grants=[grant]))[SENSITIVE_CHECK]
    as_link = replace(grant, leaves={"LICENSE": f"120000 {blob_id(b'code.py')}"})
    await repository.repository.git("reset", "--quiet", "--hard", repository.base)
    link.symlink_to("code.py")
    assert await repository.judge(TaskType.FEATURE, {}, grants=[as_link]) == {}


async def test_deletions_that_were_approved_do_not_count(repository: Repository) -> None:
    gone: dict[str, str | bytes | None] = {f"old/{number}.py": None for number in range(12)}
    leaves: dict[str, str | None] = {f"old/{number}.py": None for number in range(2)}
    grant = Grant("req_1", "result", "deleting-many-files", "May it?", "key:1", leaves=leaves)
    assert SENSITIVE_CHECK in await repository.judge(TaskType.REFACTOR, gone)
    assert await repository.judge(TaskType.REFACTOR, gone, grants=[grant]) == {}


async def test_who_agreed_to_something_else_has_not_agreed_to_a_secret(repository: Repository) -> None:
    content = f"KEY = '{TOKEN}'\n"
    grant = Grant("req_1", "Write", "licences", "May it?", "key:1", leaves={"LICENSE": blob_id(content.encode())})
    refused = await repository.judge(TaskType.FEATURE, {"LICENSE": content}, grants=[grant])
    assert refused[SENSITIVE_CHECK].startswith("LICENSE (a line looks like a secret)")
    knowing = replace(grant, rule="licences, credentials")
    assert await repository.judge(TaskType.FEATURE, {"LICENSE": content}, grants=[knowing]) == {}


@pytest.mark.parametrize(
    ("link", "rule"),
    [(".github", "ci-and-deployment"), (".claude", "agents-and-hooks"), ("migrations", "database-migrations")],
)
async def test_a_link_brings_nothing_to_a_sensitive_place(repository: Repository, link: str, rule: str) -> None:
    (repository.repository.path / link).symlink_to("tools")
    refused = await repository.judge(TaskType.FEATURE, {"tools/workflows/ci.yml": "on: push\n"})
    assert refused[SENSITIVE_CHECK].startswith(f"{link}: sensitive by the rule {rule}")
    (repository.repository.path / "link").symlink_to("tools")
    assert await repository.judge(TaskType.FEATURE, {"tools/workflows/ci.yml": "on: push\n"}) == {}


async def test_moving_many_files_deletes_none(repository: Repository) -> None:
    moved: dict[str, str | bytes | None] = {f"old/{number}.py": None for number in range(15)}
    moved |= {f"new/{number}.py": f"{number}\n" * 20 for number in range(15)}
    assert await repository.judge(TaskType.REFACTOR, moved) == {}


def outcomes(evidence: Evidence) -> dict[str, CheckOutcome]:
    return {check.name: check.outcome for check in evidence.checks}


async def test_the_verifier_asks_the_rules(tmp_path: Path) -> None:
    c = await court(tmp_path, BASE)
    evidence = await c.judge(TaskType.DOCS, {"code.py": "x = 2\n", WORKFLOW: "on: push\n"})
    assert outcomes(evidence)[CHECK] is CheckOutcome.FAILED
    assert outcomes(evidence)[SENSITIVE_CHECK] is CheckOutcome.FAILED


# Whole executions


FIX = (write("calc.py", FIXED), write("tests/test_calc.py", REPRODUCING))
SNEAK = f"mkdir -p .github/workflows && python3 -c \"open('{WORKFLOW}', 'w').write('on: push')\""


def nobody(folder: Path) -> Path:
    """A policy by which nobody agrees to anything."""
    policy = folder / "policy.toml"
    policy.write_text(
        '[[rule]]\nname = "nobody"\nreason = "not in this shop"\ndecide = "deny"\nmatch = { tools = ["*"] }\n'
    )
    return policy


async def test_claude_is_denied_told_and_takes_it_back(tmp_path: Path) -> None:
    """First at the gate; then, when it finds a way round that, on the result. The denials stand in the evidence."""
    title = "Adding is wrong"
    first = turn(*FIX, write(WORKFLOW, "on: push\n"), bash("pip install leftpad"))
    around = Turn(
        text="Then so.",
        tool_calls=(bash(SNEAK), commit("fix: add")),
        expect=("The controller's policy denied it: not in this shop",),
    )
    repair = Turn(
        text="Right.",
        tool_calls=(bash(f"git rm -q {WORKFLOW} && git commit -qm 'fix: back'"),),
        expect=(SENSITIVE_CHECK, WORKFLOW, "not in this shop", "Take the change of these back"),
    )
    scenario = Scenario(name="x", match=(title,), turns=(first, around, Turn(text="Done."), repair, Turn(text="Done.")))
    async with house(tmp_path, scenario, policy=nobody(tmp_path)) as h:
        await h.submit(TaskType.BUGFIX, title)
        claimed, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Delivered), conclusion
        assert ".github" not in await h.on_remote("main", "ls-tree", "-r", "--name-only")
        evidence = await h.desk.evidence(claimed.lease.execution_id)
    assert evidence.repairs == 1
    kept = [(call.tool, call.rule) for call in evidence.refused_calls]
    assert sorted(kept) == [("Bash", "package-installs"), ("Write", "ci-and-deployment")]
    assert evidence.approved_calls == ()


async def test_what_claude_does_not_take_back_is_not_delivered(tmp_path: Path) -> None:
    """The same result is not asked about twice: its denial stands."""
    done = turn(*FIX, bash(SNEAK), commit("fix: add"))
    scenario = Scenario(name="x", match=("Adding",), turns=(done, *[Turn(text="It is fine.")] * 2))
    async with house(tmp_path, scenario, policy=nobody(tmp_path)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong")
        once = TaskExecutor(replace(h.shop, max_repairs=1))
        conclusion, _ = await h.execute(await h.claim(TaskType.BUGFIX), once)
        assert isinstance(conclusion, Failed), conclusion
        assert conclusion.failure.reason is FailureReason.VERIFICATION_FAILED
        assert WORKFLOW in conclusion.failure.detail
        assert await h.on_remote("main", "rev-parse") == await h.repository.head()
        assert len((await h.desk.requests(status=None)).items) == 1


async def test_what_another_worker_took_for_good_is_judged_by_the_rules_of_the_one_that_delivers(
    tmp_path: Path,
) -> None:
    """An approved result, taken over by a worker with stricter rules, stays."""
    strict = Sensitive.model_validate({"rule": [{"name": "sums", "why": "they count", "paths": ["calc.py"]}]})
    done = turn(*FIX, commit("fix: add"))
    scenario = Scenario(name="x", match=("Adding",), turns=(done, Turn(text="Done."), *[Turn(text="It stays.")] * 9))
    async with house(tmp_path, scenario, policy=nobody(tmp_path)) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="human_required")
        _, conclusion, _ = await h.carry_out(TaskType.BUGFIX)
        assert isinstance(conclusion, Parked), conclusion
        await h.desk.respond(conclusion.request.id, m.Reply(verdict="approved"))
        stricter = TaskExecutor(replace(h.shop, sensitive=strict, max_repairs=0))
        again, _ = await h.execute(await h.claim(TaskType.BUGFIX), stricter)
        assert isinstance(again, Failed), again
        assert again.failure.reason is FailureReason.VERIFICATION_FAILED
        assert (await git("branch", cwd=h.remote)).split() == ["*", "main"]


async def test_an_operator_allows_it_and_narrows_the_tools(tmp_path: Path) -> None:
    allowed = Sensitive.model_validate({"allow": [{"rule": "ci-and-deployment", "types": ["bugfix"]}]})
    done = turn(*FIX, write(WORKFLOW, "on: push\n"), commit("fix: add"))
    scenario = Scenario(name="x", match=("Adding",), turns=(done, Turn(text="Done.")))
    async with house(tmp_path, scenario, files=FILES) as h:
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="supervised")
        claimed = await h.claim(TaskType.BUGFIX)
        conclusion, progress = await h.execute(claimed, TaskExecutor(replace(h.shop, sensitive=allowed)))
        assert isinstance(conclusion, Delivered), conclusion
        await h.report(claimed, conclusion, progress)
        await h.submit(TaskType.BUGFIX, "Adding is wrong", permission_level="supervised")
        claimed = await h.claim(TaskType.BUGFIX)
        narrow = replace(h.shop, sensitive=allowed, tools=("test_write",), max_repairs=0)
        failed, _ = await h.execute(claimed, TaskExecutor(narrow))
        assert isinstance(failed, Failed), failed
        evidence = await h.desk.evidence(claimed.lease.execution_id)
    assert {call.subject.rpartition("/")[2] for call in evidence.refused_calls} == {"calc.py", "ci.yml"}
    assert {call.rule for call in evidence.refused_calls} == {"tool-policy"}
