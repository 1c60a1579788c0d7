"""What an operator says of how a repository is set up and tested, in the place of what it says itself."""

import re
import shlex
from dataclasses import replace

from agentvine.domain.repository_settings import RepositoryRules
from agentvine.worker.verification.agentvine_toml import AgentvineToml, Setup, Test
from agentvine.worker.verification.found import Commands

SOURCE = "the operator's settings"
_FOR_THE_SHELL = re.compile(r"[|&;<>()$`\\*?\[\]#~{}\n]|^\s*(?:\w+=|!|(?:cd|export|set|if|for|while|source|\.)\s)")


def ruled(said: AgentvineToml | None, rules: RepositoryRules) -> AgentvineToml | None:
    """What a repository says, with an operator's commands in the place of its own, and his hosts besides its own."""
    if not (rules.setup or rules.test or rules.hosts):
        return said
    said = said or AgentvineToml()
    hosts = tuple(dict.fromkeys((*said.sandbox.hosts, *rules.hosts)))
    return said.model_copy(
        update={
            "sandbox": said.sandbox.model_copy(update={"hosts": hosts}),
            "setup": Setup(command=_argv(rules.setup)) if rules.setup else said.setup,
            "test": Test(command=_argv(rules.test)) if rules.test else said.test,
        }
    )


def as_ruled(found: Commands, rules: RepositoryRules) -> Commands:
    """`found`, which says of each command whose word it is."""
    setup, test = found.setup, found.test
    if rules.setup and setup is not None:
        setup = replace(setup, source=SOURCE)
    if rules.test and test is not None:
        test = replace(test, source=SOURCE)
    return replace(found, setup=setup, test=test)


def _argv(lines: tuple[str, ...]) -> tuple[str, ...]:
    """One plain command is run as it is, so that its runner is known; anything else by a shell, up to what fails."""
    if len(lines) == 1 and not _FOR_THE_SHELL.search(lines[0].replace("{junit}", "")):
        try:
            return tuple(shlex.split(lines[0]))
        except ValueError:  # a quote that is not closed: the shell says so
            pass
    return ("sh", "-ec", "\n".join(lines))
