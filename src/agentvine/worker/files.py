"""What a file is for, judged by its path alone: test, documentation, or code. Paths are relative, with '/'.

Conventions of pytest, unittest, jest, vitest, mocha, Go, Maven, Gradle, RSpec and Cargo. What is neither a test nor
documentation counts as code, configuration included: a mistake then asks for too much, never for too little.
"""

import re
from pathlib import PurePosixPath

from agentvine.domain.tool_policy import FileKind

__all__ = ["FileKind", "kind_of", "languages"]

_TEST_FOLDERS = frozenset({"test", "tests", "__tests__", "__mocks__", "spec", "specs", "testing", "testdata", "e2e"})
_TEST_NAME = re.compile(
    r"^(test_.+\.\w+|.+_test\.\w+|tests?\.\w+|conftest\.py|.+\.(test|spec|cy)\.\w+|.+_spec\.rb"
    r"|([A-Z]\w*)?Tests?\.(java|kt|scala|cs|swift)|[A-Z]\w*IT\.(java|kt))$"
)
_DOCS_SUFFIXES = frozenset({".md", ".mdx", ".markdown", ".rst", ".adoc", ".asciidoc", ".mmd", ".puml", ".dot"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".drawio"})
_DOCS_FOLDERS = frozenset({"doc", "docs", "documentation"})
_DOCS_FOLDER_SUFFIXES = _PICTURES | {".txt", ".yml", ".yaml", ".json", ".css", ".html", ".d2"}
_DOCS_NAMES = frozenset(
    {"readme", "readme.txt", "changelog", "changes", "contributing", "authors", "mkdocs.yml", "mkdocs.yaml"}
)
_REQUIREMENTS = re.compile(r"^(requirements|constraints).*\.txt$", re.IGNORECASE)


def kind_of(path: str) -> FileKind:
    """The kind of the file at `path`. Documentation inside a folder of tests is test data."""
    parts = PurePosixPath(path)
    folders = {part.lower() for part in parts.parts[:-1]}
    if _TEST_NAME.match(parts.name) or folders & _TEST_FOLDERS:
        return FileKind.TEST
    return FileKind.DOCS if _is_docs(parts, folders) else FileKind.CODE


def _is_docs(path: PurePosixPath, folders: set[str]) -> bool:
    name, suffix = path.name.lower(), path.suffix.lower()
    if suffix in _DOCS_SUFFIXES or name in _DOCS_NAMES:
        return True
    return bool(folders & _DOCS_FOLDERS) and suffix in _DOCS_FOLDER_SUFFIXES and not _REQUIREMENTS.match(name)


_LANGUAGES = {
    ".py": "Python",
    ".pyi": "Python",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".js": "JavaScript",
    ".jsx": "JavaScript",
    ".mjs": "JavaScript",
    ".go": "Go",
    ".rs": "Rust",
    ".java": "Java",
    ".kt": "Kotlin",
    ".rb": "Ruby",
    ".php": "PHP",
    ".cs": "C#",
    ".c": "C",
    ".h": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".hpp": "C++",
    ".swift": "Swift",
    ".scala": "Scala",
    ".sh": "Shell",
    ".sql": "SQL",
}


def languages(paths: list[str]) -> tuple[str, ...]:
    """The programming languages of the files at `paths`, the most frequent first, at most five."""
    counts: dict[str, int] = {}
    for path in paths:
        language = _LANGUAGES.get(PurePosixPath(path).suffix.lower())
        if language is not None:
            counts[language] = counts.get(language, 0) + 1
    return tuple(sorted(counts, key=lambda language: (-counts[language], language))[:5])
