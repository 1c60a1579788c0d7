"""The page on configuration lists every setting. To mend it: `python -m tests.docs.test_configuration`."""

from pydantic.fields import FieldInfo

from agentvine.kit.configuration import Settings
from agentvine.server.settings import ServerSettings
from agentvine.worker.settings import WorkerConfig
from tests.docs.pages import DOCS, filled

PAGE = DOCS / "configuration.md"
SECTIONS: dict[str, type[Settings]] = {"worker": WorkerConfig, "server": ServerSettings}
"""The settings of each wing, by the name of the page's section."""


def table(settings: type[Settings]) -> str:
    """All settings of one class, as a table: its own first, then those that it takes over from others."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in sorted(settings.model_fields.items(), key=lambda item: item[0] not in settings.__annotations__):
        lines.append(f"| `{settings.variable(name)}` | {default(field)} | {field.description} |")
    return "\n".join(lines)


def default(field: FieldInfo) -> str:
    """The default as one would write it into an environment."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{','.join(value)}`" if isinstance(value, tuple) else f"`{value}`"


def written() -> str:
    """The page as it should be."""
    page = PAGE.read_text(encoding="utf-8")
    for name, settings in SECTIONS.items():
        page = filled(page, name, table(settings))
    return page


def test_the_page_shows_every_setting() -> None:
    assert PAGE.read_text(encoding="utf-8") == written()


def test_every_setting_has_its_sentence_and_an_example() -> None:
    for settings in SECTIONS.values():
        for name, field in settings.model_fields.items():
            assert field.description, f"{name} has no docstring"
            assert "\n" not in field.description, f"{name}: one line, for the table"
            assert field.examples, f"{name} has no example, so nobody is told what to write"


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
