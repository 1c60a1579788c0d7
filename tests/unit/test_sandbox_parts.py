"""The smaller parts of the sandbox: control groups as text, ownership, measuring, and what a complaint means."""

import os
from pathlib import Path

import pytest

from agentvine.worker.sandbox.cgroup import ControlGroups, Group, Hierarchy, hierarchies, settings
from agentvine.worker.sandbox.front import Plan
from agentvine.worker.sandbox.host import Program, SandboxUnavailable, Users, describe, explain, find_bubblewrap
from agentvine.worker.sandbox.limits import Limit, Limits, enforcement
from agentvine.worker.sandbox.ownership import adopt
from agentvine.worker.sandbox.watch import Watch, fair_share_of, usage_of

V1 = """tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
"""


def test_where_this_process_stands() -> None:
    membership = "5:memory:/system/a\n3:cpu,cpuacct:/\n2:devices:/d\n0::/x.slice\n"
    assert hierarchies(membership, V1) == [
        Hierarchy(1, frozenset({"cpu"}), Path("/sys/fs/cgroup/cpu,cpuacct/")),
        Hierarchy(1, frozenset({"memory"}), Path("/sys/fs/cgroup/memory/system/a")),
        Hierarchy(2, frozenset(), Path("/sys/fs/cgroup/unified/x.slice")),
    ]
    assert hierarchies("0::/a.service\n", "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == [
        Hierarchy(2, frozenset(), Path("/sys/fs/cgroup/a.service"))
    ]
    assert hierarchies("0::/\n", "proc /proc proc rw 0 0\n") == []


def test_what_is_written_into_a_group() -> None:
    limits = Limits(memory_bytes=1 << 30, processes=7, cpus=1.5)
    assert settings(2, ["memory", "pids", "cpu"], limits) == {
        "memory.max": "1073741824",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "7",
        "cpu.max": "150000 100000",
    }
    assert settings(1, ["cpu", "memory"], limits) == {
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "150000",
        "memory.limit_in_bytes": "1073741824",
        "memory.memsw.limit_in_bytes": "1073741824",
    }


@pytest.mark.parametrize(
    ("file", "content", "limit"),
    [
        ("memory.events", "low 0\nmax 9\noom 1\noom_kill 1\n", Limit.MEMORY),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", Limit.MEMORY),
        ("pids.events", "max 3\n", Limit.PROCESSES),
        ("memory.events", "low 0\nmax 9\noom 0\noom_kill 0\n", None),
        ("pids.events", "max 0\n", None),
        ("other", "", None),
    ],
)
def test_what_the_kernel_counted(file: str, content: str, limit: Limit | None, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    breach = Group([tmp_path]).breach(Limits())
    assert (breach.limit if breach else None) is limit


def test_where_no_group_can_be_made_there_is_none() -> None:
    nothing = ControlGroups(())
    assert nothing.group(Limits()) is None
    assert (nothing.controllers, nothing.means) == (frozenset(), "rlimits")
    promised = enforcement(frozenset(), "rlimits")
    assert Limit.MEMORY in promised.watched
    assert Limit.MEMORY in enforcement(frozenset({"memory"}), "x").exact
    assert not promised.exact & promised.watched


def test_files_with_other_names_become_copies_and_nothing_else_changes(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    (root / "deep").mkdir(parents=True)
    other.write_text("shared")
    other.chmod(0o640)
    linked = root / "deep" / "linked"
    linked.hardlink_to(other)
    (root / "plain").write_text("plain")
    (root / "away").symlink_to(other)
    before = (root / "plain").stat().st_ino
    adopt(root, None)
    assert not linked.samefile(other)
    assert linked.read_text() == "shared"
    assert (linked.stat().st_mode, linked.stat().st_mtime_ns) == (other.stat().st_mode, other.stat().st_mtime_ns)
    assert (root / "plain").stat().st_ino == before
    assert (root / "away").is_symlink()
    assert sorted(path.name for path in root.rglob("*")) == ["away", "deep", "linked", "plain"]


def test_the_root_of_what_is_adopted_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"):
        adopt(tmp_path / "link", None)


def watch(directory: Path, limits: Limits) -> Watch:
    return Watch(limits, None, frozenset(), [directory])


def test_what_lies_on_disk_is_measured_without_following_anything(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 50_000)
    (tmp_path / "again").hardlink_to(tmp_path / "file")
    (tmp_path / "root").symlink_to("/")
    os.mkfifo(tmp_path / "fifo")
    assert watch(tmp_path, Limits(disk_bytes=100_000, free_disk_bytes=0)).disk() is None
    breach = watch(tmp_path, Limits(disk_bytes=40_000, free_disk_bytes=0)).disk()
    assert breach is not None
    assert breach.limit is Limit.DISK
    breach = watch(tmp_path, Limits(files=3, free_disk_bytes=0)).disk()
    assert breach is not None
    assert breach.limit is Limit.FILES


def test_a_nearly_full_file_system_is_noticed(tmp_path: Path) -> None:
    breach = watch(tmp_path, Limits(free_disk_bytes=1 << 60)).disk()
    assert breach is not None
    assert "left" in breach.detail


def test_a_machine_without_memory_is_noticed(tmp_path: Path) -> None:
    breach = watch(tmp_path, Limits(free_memory_bytes=1 << 60)).processes(os.getpid())
    assert breach is not None
    assert breach.limit is Limit.MEMORY


def test_what_processes_use() -> None:
    memory, tasks = usage_of([os.getpid(), 2**22 + 1])
    assert memory > 1 << 20
    assert tasks >= 1
    assert 0 < fair_share_of([os.getpid()]) <= memory * 1.5


def test_users_of_boxes_are_ordinary_and_steady() -> None:
    users = Users(first=5000, count=10)
    numbers = {users.of(f"/somewhere/{number}") for number in range(200)}
    assert numbers == set(range(5000, 5010))
    assert users.of("a") == users.of("a")


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("bwrap: No permissions to create a new namespace, likely because", "namespaces"),
        ("bwrap: Creating new namespace failed: Operation not permitted", "namespaces"),
        ("bwrap: setting up uid map: Permission denied", "no rights"),
        ("bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "no rights"),
        ("bwrap: Can't mount proc on /newroot/proc: Operation not permitted", "systempaths=unconfined"),
        ("front: [Errno 1] Operation not permitted", "CAP_SETUID"),
        ("front: [Errno 22] Invalid argument", "CAP_SETUID"),
        ("bwrap: Can't find source path /root/x: Permission denied", "CAP_SYS_ADMIN"),
        ("something new", "something new"),
        ("", "no reason"),
    ],
)
def test_a_complaint_becomes_advice(complaint: str, words: str) -> None:
    problem = explain(complaint, Program(Path("/usr/bin/bwrap"), Path("/usr/bin/bwrap")).path)
    assert words in str(problem)
    assert problem.mend


async def test_the_configured_bubblewrap_is_taken_and_a_missing_one_is_told() -> None:
    own = Path("/opt/bwrap")
    assert (await find_bubblewrap(own)).path == own
    found = await find_bubblewrap(path="/nonexistent")  # the one of the package
    assert found.path.is_relative_to(found.home)
    assert str(SandboxUnavailable([])) == ""


def test_what_this_host_shows(tmp_path: Path) -> None:
    tool = tmp_path / "tools" / "node"
    (tool / "bin").mkdir(parents=True)
    (tool / "pip.conf").write_text("[global]\nindex-url = https://user:password@index\n")
    system = describe(more=[tool])
    assert "/usr" in system.directories
    assert tool in system.tools
    assert tool / "pip.conf" in system.hidden
    assert system.interpreter.is_file()
    for wide in (Path("/"), Path("/opt"), Path("/home/somebody")):
        with pytest.raises(ValueError, match="cannot be shown"):
            describe(more=[wide])


def test_a_plan_is_read_back_as_it_was_written() -> None:
    records = [("user", "7"), ("word", "--bind"), ("data", "two\nlines and spaces"), ("handover", ""), ("path", "/a b")]
    plan = Plan("".join(f"{kind} {value}\0" for kind, value in records))
    assert plan.records == records
    assert plan.user == 7
    assert plan.all("path", "data") == ["two\nlines and spaces", "/a b"]
    assert Plan("").user is None
    with pytest.raises(LookupError):
        plan.one("bwrap")
