"""Secrets that a person types, or a program gives: never an argument, which `ps` and a shell's history show."""

import sys

import typer

_LONGEST = 10_000


def ask_secret(prompt: str = "Token or password") -> str:
    """What is typed at a terminal, unseen, or what stands on standard input."""
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, err=True))
    return sys.stdin.read(_LONGEST).rstrip("\r\n")
