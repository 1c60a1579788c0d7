"""Which shell commands the agent may not run, each with what it should do instead."""

import re
from collections.abc import Iterator, Mapping, Sequence

from agentvine.worker.agent.shell import Command, Unreadable, Word, commands

_NO_PUSH = "You cannot push: commit your work, and it is delivered for you after it was verified."
_NO_PUBLISHING = "Publishing is not part of this task and there are no credentials for it: leave it out."
_NO_FORGE = "There is no access to the forge here. Commit your work; pull requests are opened for you."
_NO_REWRITING = "History must not be rewritten: undo or mend with a new commit instead."
_NO_CONFIGURATION = "Git's configuration must stay as it is: leave this out."
_SAY_IT_PLAINLY = (
    "It cannot be seen which program this would run: write the command out, without variables or patterns."
)
_CHANGES_NOTHING = "A review changes no file and commits nothing: look, analyse and report."

_WORDS_OF_SYNTAX = frozenset(
    {"if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "{", "}", "!"}
    | {"time", "function", "select", "coproc", "[["}
)
_ASSIGNMENT = re.compile(r"^[A-Za-z_]\w*(\[[^\]]*\])?\+?=")
_WRAPPERS = frozenset(
    {"sudo", "doas", "env", "nohup", "setsid", "nice", "ionice", "chrt", "timeout", "stdbuf", "command", "builtin"}
    | {"exec", "xargs", "parallel", "watch", "strace", "ltrace", "unshare", "nsenter", "script", "busybox", "chroot"}
    | {"npx", "pnpx", "bunx", "uvx", "pipx", "su", "runuser", "setpriv", "flock"}
)
_RUNNERS: Mapping[str, str] = {
    **dict.fromkeys(("uv", "poetry", "pdm", "pipenv", "hatch", "rye", "conda", "mamba", "coverage"), "run"),
    **dict.fromkeys(("bundle", "npm", "pnpm", "yarn"), "exec"),
}
_WRAPPERS_WITH_OPERAND = frozenset({"chroot", "flock", "pipx", "su", "runuser"})
_OPTIONS_WITH_VALUE = frozenset(
    {"-u", "-g", "-n", "-k", "-s", "-I", "-P", "-L", "-d", "-a", "-E", "-C", "-S", "-p", "-c", "-o", "-e", "-i", "-w"}
    | {
        "--with",
        "--python",
        "--project",
        "--directory",
        "--user",
        "--signal",
        "--kill-after",
        "--max-args",
        "--max-procs",
        "--delimiter",
        "--package",
        "--from",
    }
)
_FIND_RUNS = frozenset({"-exec", "-execdir", "-ok", "-okdir", "-x", "-X", "--exec", "--exec-batch"})
_AMOUNT = re.compile(r"^\d+(\.\d+)?[smhd]?$")
_DEEPEST = 20
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"})
_INTERPRETER = re.compile(r"^(python|pypy|perl|ruby|node|nodejs|bun|deno|php|lua|awk|gawk)[\d.]*$")
_HIDDEN = re.compile(r"\bgit\b.{0,60}\b(push|send-pack|filter-branch|rebase)\b|\btwine\b.{0,20}\bupload\b", re.DOTALL)

_FORGES = frozenset({"gh", "glab", "hub", "tea", "fj"})
_PUBLISHERS: Mapping[str, frozenset[str]] = {
    "npm": frozenset({"publish", "unpublish", "deprecate", "dist-tag", "adduser", "login", "token", "owner"}),
    "yarn": frozenset({"publish"}),
    "pnpm": frozenset({"publish"}),
    "bun": frozenset({"publish"}),
    "lerna": frozenset({"publish"}),
    "twine": frozenset({"upload", "register"}),
    "poetry": frozenset({"publish"}),
    "uv": frozenset({"publish"}),
    "flit": frozenset({"publish"}),
    "hatch": frozenset({"publish"}),
    "pdm": frozenset({"publish"}),
    "cargo": frozenset({"publish", "login", "yank", "owner"}),
    "gem": frozenset({"push", "yank"}),
    "docker": frozenset({"push", "login"}),
    "podman": frozenset({"push", "login"}),
    "helm": frozenset({"push"}),
    "dotnet": frozenset({"push"}),
    "mvn": frozenset({"deploy", "release:perform"}),
    "mvnw": frozenset({"deploy", "release:perform"}),
    "gradle": frozenset({"publish", "uploadArchives"}),
    "gradlew": frozenset({"publish", "uploadArchives"}),
    "vsce": frozenset({"publish"}),
}
_GIT: Mapping[str, str] = {
    **dict.fromkeys(("push", "send-pack", "http-push", "send-email", "receive-pack"), _NO_PUSH),
    **dict.fromkeys(
        ("rebase", "filter-branch", "filter-repo", "replace", "update-ref", "fast-import", "reflog"), _NO_REWRITING
    ),
}
_GIT_READS_REFLOG = frozenset({"show", "exists", "list"})
_GIT_WITH_VALUE = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env"})
_GIT_CHANGES = frozenset(
    {"add", "commit", "rm", "mv", "merge", "cherry-pick", "revert", "apply", "am", "stash", "restore", "clean", "tag"}
    | {"pull", "reset", "notes", "worktree", "submodule", "init", "checkout-index", "update-index"}
)
_CHANGERS = frozenset(
    {"rm", "mv", "cp", "ln", "mkdir", "rmdir", "touch", "truncate", "tee", "dd", "install", "patch", "chmod", "chown"}
)
_MENDING = frozenset({"--fix", "--fix-all", "--unsafe-fixes", "--write", "--autofix", "--auto-correct"})
_MOST_COMMANDS = 2000


def objection(text: str, *, may_write: bool = True) -> str | None:
    """Why the shell command `text` may not be run, or None.

    It is judged by what it says: a program that pushes from within is not seen here. `may_write` False also refuses
    what plainly changes files.
    """
    try:
        for number, command in enumerate(all_commands(text)):
            if number > _MOST_COMMANDS:
                return "The command is too long to be looked through: put it into a script and run that."
            refused = _judge(command, may_write=may_write)
            if refused is None and _reads_commands(command) and _HIDDEN.search(text):
                refused = _NO_PUSH
            if refused is not None:
                return refused
    except Unreadable as error:
        return f"The command cannot be read as a shell command ({error}): mend its quoting, or write it into a file."
    return None


def all_commands(text: str, deep: int = 0) -> Iterator[Command]:
    """The commands in `text` and in what it hands to a shell. Raises Unreadable."""
    if deep > 5:
        raise Unreadable("it is nested too deep")
    for command in commands(text):
        yield command
        for inner in _handed_to_a_shell(command):
            yield from all_commands(inner, deep + 1)


def _handed_to_a_shell(command: Command) -> Iterator[str]:
    for words in candidates(command.words):
        name = program_name(words[0])
        if name in _SHELLS or name in {"su", "script", "runuser", "flock"}:
            flags = [index for index, word in enumerate(words) if re.match(r"^-\w*c$", word.text)]
            yield from (words[index + 1].text for index in flags[:1] if index + 1 < len(words))
            yield from command.documents
        elif name in {"eval", "watch", "parallel"}:
            yield " ".join(word.text for word in words[1:])


def _reads_commands(command: Command) -> bool:
    """True for a shell that is given nothing to run and so takes it from a pipe."""
    return any(
        program_name(words[0]) in _SHELLS and not first_plain(words[1:], 1) for words in candidates(command.words)
    )


def candidates(words: Sequence[Word], deep: int = 0) -> Iterator[Sequence[Word]]:
    """What may be a program and its arguments: behind words of syntax and assignments, and behind any wrapper.

    Raises Unreadable.
    """
    if deep > _DEEPEST:
        raise Unreadable("it is nested too deep")
    rest = list(words)
    while rest and (rest[0].text in _WORDS_OF_SYNTAX or _ASSIGNMENT.match(rest[0].text)):
        rest = rest[1:]
    if not rest:
        return
    yield rest
    name = program_name(rest[0])
    if name in {"find", "fd"}:
        starts = [index + 1 for index, word in enumerate(rest) if word.text in _FIND_RUNS]
    else:
        starts = _wrapped(name, rest) if name in _WRAPPERS else _run_by(name, rest)
    for start in starts:
        yield from candidates(rest[start:], deep + 1)


def _run_by(name: str, words: Sequence[Word]) -> list[int]:
    """Where the command that a project's tool runs may begin: `uv run pytest`."""
    verb = next((index for index, word in enumerate(words) if word.text == _RUNNERS.get(name)), None)
    return [] if verb is None else [verb + start for start in _wrapped(name, words[verb:])]


def _wrapped(name: str, words: Sequence[Word]) -> list[int]:
    """Where the command that a wrapper runs may begin; more than one place where an option may have a value."""
    starts = []
    unsure = name in _WRAPPERS_WITH_OPERAND
    for index, word in enumerate(words[1:], 1):
        if word.text.startswith("-") or _ASSIGNMENT.match(word.text):
            unsure = unsure or word.text in _OPTIONS_WITH_VALUE
        elif not _AMOUNT.match(word.text):
            starts.append(index)
            if not unsure:
                break
            unsure = False
    return starts


def program_name(word: Word) -> str:
    return word.text.rsplit("/", 1)[-1].removesuffix(".exe").lower()


def _judge(command: Command, *, may_write: bool) -> str | None:
    if not may_write and any(
        word.text not in {"/dev/null", "/dev/stderr", "/dev/stdout"} for word in command.writes_to
    ):
        return _CHANGES_NOTHING
    wrapped = False
    for words in candidates(command.words):
        refused = _judge_program(words, may_write=may_write, wrapped=wrapped)
        if refused is not None:
            return refused
        wrapped = True
    return None


def _judge_program(words: Sequence[Word], *, may_write: bool, wrapped: bool) -> str | None:
    name, arguments = program_and_arguments(words)
    if _INTERPRETER.match(name) and any(_HIDDEN.search(word.text) for word in arguments):
        return _NO_PUSH  # code given on the command line is searched for what it would start
    if words[0].dynamic and not wrapped:
        return _dynamic(words[0], arguments)
    if name == "git":
        return _git(arguments, may_write=may_write, wrapped=wrapped)
    if name in _FORGES:
        return _NO_FORGE
    denied = _PUBLISHERS.get(name)
    if denied and denied & set(first_plain(arguments, 2)):
        return _NO_PUBLISHING
    if not may_write and (name in _CHANGERS or _mends(arguments) or (name in {"sed", "perl"} and _in_place(arguments))):
        return _CHANGES_NOTHING
    return None


def program_and_arguments(words: Sequence[Word]) -> tuple[str, Sequence[Word]]:
    """The bare name of the program that would run, and its arguments; `python -m tool …` is that tool."""
    name, arguments = program_name(words[0]), words[1:]
    texts = [word.text for word in arguments]
    if name.startswith(("python", "pypy")) and "-m" in texts[:-1]:
        module = texts.index("-m") + 1
        return texts[module].split(".")[0], arguments[module + 1 :]
    return name, arguments


def _dynamic(program: Word, arguments: Sequence[Word]) -> str | None:
    if "{" in program.text:  # it becomes a program and its arguments
        return _SAY_IT_PLAINLY
    first = set(first_plain(arguments, 2))
    risky = first & (_GIT.keys() | set().union(*_PUBLISHERS.values())) or any(word.dynamic for word in arguments[:1])
    return _SAY_IT_PLAINLY if risky else None


def first_plain(arguments: Sequence[Word], count: int) -> list[str]:
    """The first `count` arguments that are no options."""
    return [word.text for word in arguments if not word.text.startswith("-")][:count]


def _in_place(arguments: Sequence[Word]) -> bool:
    return any(re.match(r"^(-\w*i|--in-place)", word.text) for word in arguments)


def _mends(arguments: Sequence[Word]) -> bool:
    return any(word.text in _MENDING for word in arguments)


def _git(arguments: Sequence[Word], *, may_write: bool, wrapped: bool) -> str | None:
    index = 0
    while index < len(arguments) and arguments[index].text.startswith("-"):
        option = arguments[index].text
        value = arguments[index + 1].text if index + 1 < len(arguments) else ""
        if option in {"-c", "--config-env"} and not value.lower().startswith(("user.", "color.", "core.pager")):
            return _NO_CONFIGURATION
        if option.startswith("--config-env="):
            return _NO_CONFIGURATION
        index += 2 if option in _GIT_WITH_VALUE else 1
    if index >= len(arguments):
        return _SAY_IT_PLAINLY if wrapped else None  # `xargs git` is given the verb by its input
    verb, rest = arguments[index], arguments[index + 1 :]
    if verb.dynamic or verb.text == "{}":
        return _SAY_IT_PLAINLY
    return _git_verb(verb.text, [word.text for word in rest], may_write=may_write)


def _git_verb(verb: str, rest: Sequence[str], *, may_write: bool) -> str | None:
    if verb == "reflog" and (not rest or rest[0] in _GIT_READS_REFLOG or rest[0].startswith("-")):
        return None
    if verb in _GIT:
        return _GIT[verb]
    if verb == "commit" and any(text.startswith("--am") for text in rest):
        return _NO_REWRITING
    if verb == "config" and not _reads_configuration(rest):
        return _NO_CONFIGURATION
    if verb in {"svn", "p4"} and set(rest) & {"dcommit", "submit"}:
        return _NO_PUSH
    if verb == "subtree" and "push" in rest:
        return _NO_PUSH
    return None if may_write or verb not in _GIT_CHANGES else _CHANGES_NOTHING


def _reads_configuration(arguments: Sequence[str]) -> bool:
    if set(arguments) & {"--get", "--get-all", "--get-regexp", "--list", "-l", "get", "list", "--get-urlmatch"}:
        return True
    return len([text for text in arguments if not text.startswith("-")]) <= 1 and "-e" not in arguments
