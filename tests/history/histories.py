"""Bugs that were mended in packages that everybody knows: which versions, which blocks of their difference are the fix,
which the test, and how a fix of the same place would have been wrong.

Nothing of the packages stands here. A block of a difference is named by a few characters that occur in it; the packages
come from the package index, with digests (`before.txt`, `after.txt`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

Blocks = Mapping[str, tuple[str, ...]]
"""By file: characters by which blocks of its difference are known."""
EVERY = ("",)
"""Every block, and all of a file that is new."""


@dataclass(frozen=True, slots=True)
class History:
    """One fix. `wrong` turns the file in which it is, as it was mended, into one that is not: find this, put that."""

    name: str
    title: str
    before: str
    """The older source distribution, `NAME-VERSION`."""
    after: str
    fix: Blocks
    test: Blocks
    wrong: tuple[str, str, str]
    """File, what to find there, what to put in its place."""
    runs: tuple[str, ...]
    """What pytest is given."""


HISTORIES = (
    History(
        "markupsafe_spaces",
        "striptags leaves runs of spaces where tags and comments were",
        "MarkupSafe-2.1.4",
        "MarkupSafe-2.1.5",
        {"src/markupsafe/__init__.py": ("value = str(self)", "(value.split())")},
        {"tests/test_markupsafe.py": ("inner comment",)},
        ("src/markupsafe/__init__.py", "(value.split())", "(value.split(' '))"),
        ("-o", "pythonpath=src", "tests/test_markupsafe.py"),
    ),
    History(
        "semver_zero",
        "A part of a version that is 0 cannot be reached by its index",
        "semver-2.10.1",
        "semver-2.10.2",
        {"semver.py": ("index.start is not None", "lambda p:", "elif not part")},
        {"test_semver.py": ('("1.0.2", 1', "(1, 2, 0)")},
        ("semver.py", "lambda p: p is not None", "lambda p: p"),
        ("-o", "addopts=", "test_semver.py"),
    ),
    History(
        "markdown_brackets",
        "Brackets within the name of a reference are taken for a reference",
        "Markdown-3.3.6",
        "Markdown-3.3.7",
        {"markdown/blockprocessors.py": (r"[ ]{0,3}\[",)},
        {"tests/test_syntax/inline/test_links.py": ("nested_left_bracket",)},
        ("markdown/blockprocessors.py", r"\[([^\[\]]*)\]:", r"\[([^\]]+)\]:"),
        ("tests/test_syntax/inline/test_links.py",),
    ),
    History(
        "markdown_attributes",
        "What is said of a fenced block of code goes into attributes unescaped",
        "Markdown-3.3.6",
        "Markdown-3.3.7",
        {"markdown/extensions/fenced_code.py": ("_escape_attrib_html",)},
        {"tests/test_syntax/extensions/test_fenced_code.py": ("EscapedAttrs",)},
        ("markdown/extensions/fenced_code.py", "{_escape_attrib_html(id)}", "{id}"),
        ("tests/test_syntax/extensions/test_fenced_code.py",),
    ),
    History(
        "cachetools_info",
        "cache_info() of a cached function does not take the lock",
        "cachetools-5.5.1",
        "cachetools-5.5.2",
        {"src/cachetools/__init__.py": EVERY, "src/cachetools/_decorators.py": EVERY},
        {"tests/test_cached.py": ("lock_info",)},
        ("src/cachetools/_decorators.py", "with lock:\n            return info(", "if lock:\n            return info("),
        ("-o", "pythonpath=src", "tests/test_cached.py"),
    ),
    History(
        "pyflakes_print",
        "An augmented assignment to print makes it crash",
        "pyflakes-3.0.0",
        "pyflakes-3.0.1",
        {"pyflakes/checker.py": EVERY},
        {"pyflakes/test/test_other.py": ("print_augmented",)},
        (
            "pyflakes/checker.py",
            "(node.target, node)\n        self.h",
            "(node.target, self.getParent(node.target))\n        self.h",
        ),
        ("pyflakes/test/test_other.py",),
    ),
)
