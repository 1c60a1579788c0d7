"""Which packages a command would install: read from its words, for the package managers that are common."""

from collections.abc import Iterator, Mapping, Sequence

_INSTALLERS: Mapping[str, frozenset[str]] = {
    "pip": frozenset({"install", "download", "wheel"}),
    "pip3": frozenset({"install", "download", "wheel"}),
    "pipx": frozenset({"install", "inject"}),
    "uv": frozenset({"add", "install"}),
    "poetry": frozenset({"add"}),
    "pdm": frozenset({"add"}),
    "pipenv": frozenset({"install"}),
    "conda": frozenset({"install"}),
    "mamba": frozenset({"install"}),
    "npm": frozenset({"install", "i", "add"}),
    "pnpm": frozenset({"add", "install", "i"}),
    "yarn": frozenset({"add"}),
    "bun": frozenset({"add", "install", "i"}),
    "gem": frozenset({"install"}),
    "bundle": frozenset({"add"}),
    "cargo": frozenset({"add", "install"}),
    "go": frozenset({"get", "install"}),
    "composer": frozenset({"require"}),
    "apt": frozenset({"install"}),
    "apt-get": frozenset({"install"}),
    "apk": frozenset({"add"}),
    "yum": frozenset({"install"}),
    "dnf": frozenset({"install"}),
    "brew": frozenset({"install"}),
}
_SOURCES = frozenset(
    {"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--registry", "--index", "--source", "--git"}
)
_WITH_VALUE = frozenset(
    {"-r", "--requirement", "-c", "--constraint", "-t", "--target", "--prefix", "--root", "-p", "--python", "--group"}
    | {"--extra", "--features", "--platform", "-w", "--workspace", "--only-binary", "--no-binary", "--cache-dir"}
)
_LONGEST_PREFIX = 3
"""Among how many words the verb may stand: `uv pip install`."""


def installed(words: Sequence[str]) -> list[str]:
    """The packages that a command would install by name, and the foreign sources that it would take them from.

    What the repository declares itself (`pip install -r`, `-e .`, `npm ci`) is not among them.
    """
    verbs = _INSTALLERS.get(words[0], frozenset()) if words else frozenset()
    plain = [number for number, word in enumerate(words) if number and not word.startswith("-")]
    start = next((number for number in plain[:_LONGEST_PREFIX] if words[number] in verbs), None)
    return [] if start is None else [*_sources(words[1:start]), *_packages(words[start + 1 :])]


def _sources(words: Sequence[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        option, _, value = word.partition("=")
        if option in _SOURCES:
            yield value or next(rest, option)


def _packages(words: Sequence[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        option, _, value = word.partition("=")
        if option in _SOURCES:
            yield value or next(rest, option)
        elif word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-") and not _is_local(word):
            yield word


def _is_local(word: str) -> bool:
    return word.startswith((".", "/"))
