"""What bubblewrap is told, as text."""

from pathlib import Path

from agentvine.worker.sandbox.limits import Limits
from agentvine.worker.sandbox.profile import Record, Room, System, arguments, command

SYSTEM = System(
    links=(("/bin", "usr/bin"), ("/lib64", "usr/lib64")),
    tools=(Path("/opt/venv"), Path("/opt/venv/node"), Path("/opt/python")),
    hidden=(Path("/opt/venv/pip.conf"),),
    programs=("/opt/venv/bin", "/usr/bin"),
    interpreter=Path("/opt/python/bin/python3"),
)
ROOM = Room(Path("/w/e1/workspace"), environment={"CI": "1"})


def told(room: Room, system: System = SYSTEM, directory: str = "/workspace") -> list[Record]:
    return arguments(system, room, "launcher text", Path("/w/e1/private/filter"), directory)


def words(records: list[Record]) -> list[str]:
    return [value for _, value in records]


def text(records: list[Record]) -> str:
    return " ".join(words(records))


def test_everything_is_unshared_by_name_and_nothing_by_a_word_that_may_fail_silently() -> None:
    said = words(told(ROOM))
    for name in ("user", "pid", "ipc", "uts", "net", "cgroup-try"):
        assert f"--unshare-{name}" in said
    assert "--unshare-all" not in said
    assert {"--disable-userns", "--die-with-parent", "--new-session", "--clearenv"} <= set(said)
    assert "--cap-drop ALL" in text(told(ROOM))
    assert "--uid 1000 --gid 1000" in text(told(ROOM))


def test_only_the_workspace_can_be_written_to() -> None:
    said = words(told(ROOM))
    assert [said[at + 1 : at + 3] for at, word in enumerate(said) if word == "--bind"] == [
        ["/w/e1/workspace", "/workspace"]
    ]
    assert not {"--dev-bind", "--bind-try", "--bind-data", "--file"} & set(said)


def test_a_workspace_may_be_closed_too() -> None:
    said = text(told(Room(Path("/w/e1/workspace"), writable=False)))
    assert "--ro-bind /w/e1/workspace /workspace" in said
    assert "--bind /w" not in said.replace("--ro-bind", "")


def test_everything_is_closed_after_the_last_thing_was_put_in() -> None:
    said = words(told(ROOM))
    closing = [at for at, word in enumerate(said) if word == "--remount-ro"]
    assert [said[at + 1] for at in closing] == ["/proc", "/dev", "/"]
    mounting = {"--bind", "--ro-bind", "--ro-bind-try", "--tmpfs", "--ro-bind-data", "--symlink", "--proc", "--dev"}
    assert max(at for at, word in enumerate(said) if word in mounting) < min(closing)


def test_memory_file_systems_have_a_size() -> None:
    said = words(told(Room(Path("/w"), Limits(scratch_bytes=1234))))
    sized = {said[at + 1]: said[at - 3] for at, word in enumerate(said) if word == "--tmpfs"}
    assert sized == {"/dev/shm": str(64 << 20), "/tmp": "1234", "/home/agent": "1234"}


def test_places_on_the_host_are_marked_for_whoever_makes_them_reachable() -> None:
    places = [value for kind, value in told(ROOM) if kind == "path"]
    assert places == ["/opt/python", "/opt/venv", "/w/e1/workspace"]


def test_what_lies_in_another_tool_chain_is_not_shown_twice_and_credentials_are_covered() -> None:
    said = told(ROOM)
    assert ("path", "/opt/venv/node") not in said
    covered = said.index(("word", "/opt/venv/pip.conf"))
    assert said[covered - 1] == ("data", "")
    assert covered > said.index(("path", "/opt/venv"))


def test_of_etc_only_what_programs_need_is_there() -> None:
    said = words(told(ROOM))
    shown = {said[at + 1] for at, word in enumerate(said) if word == "--ro-bind-try"}
    assert "/etc/ssl/certs" in shown
    assert not {"/etc", "/etc/ssl", "/etc/shadow", "/etc/passwd", "/etc/hosts", "/etc/resolv.conf"} & shown
    made = {said[at + 2]: said[at + 1] for at, word in enumerate(said) if word == "--ro-bind-data"}
    assert made["/etc/resolv.conf"] == ""
    assert "hosts: files" in made["/etc/nsswitch.conf"]


def test_the_environment_is_made_from_nothing() -> None:
    said = words(told(ROOM))
    assert "--clearenv" in said
    names = {said[at + 1]: said[at + 2] for at, word in enumerate(said) if word == "--setenv"}
    assert names == {
        "PATH": "/opt/venv/bin:/usr/bin",
        "HOME": "/home/agent",
        "USER": "agent",
        "LOGNAME": "agent",
        "SHELL": "/bin/sh",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "CI": "1",
    }


def test_proxy_and_model_are_named_only_where_they_are_served() -> None:
    room = Room(Path("/w"), proxy=True, model=True)
    said = text(told(room))
    assert "HTTPS_PROXY http://127.0.0.1:3128" in said
    assert "ANTHROPIC_BASE_URL http://127.0.0.1:8118" in said
    assert room.ports == (3128, 8118)
    assert "--port 3128 --port 8118" in text(command(SYSTEM, room, ["true"]))
    assert "PROXY" not in text(told(ROOM))
    assert "--port" not in text(command(SYSTEM, ROOM, ["true"]))


def test_what_is_kept_is_bound_where_it_is_wanted() -> None:
    said = told(Room(Path("/w"), kept={Path("/p/claude"): "/p/claude"}))
    at = said.index(("path", "/p/claude"))
    assert said[at - 1 : at + 2] == [("word", "--bind"), ("path", "/p/claude"), ("word", "/p/claude")]


def test_the_command_comes_after_the_launcher_and_its_limits() -> None:
    said = words(command(SYSTEM, Room(Path("/w"), Limits(processes=10, open_files=20)), ["sh", "-c", "x --limit y"]))
    assert said[:5] == ["/opt/python/bin/python3", "-I", "-S", "-B", "/run/agentvine/launcher.py"]
    cut = said.index("--")
    assert said[cut + 1 :] == ["sh", "-c", "x --limit y"]
    assert "RLIMIT_NPROC=18" in said[:cut]  # and eight to spare, so that going over can be seen
    assert "RLIMIT_NOFILE=20" in said[:cut]
    assert "RLIMIT_CORE=0" in said[:cut]


def test_a_command_starts_where_it_is_told() -> None:
    assert "--chdir /workspace/web" in text(told(ROOM, directory="/workspace/web"))
