"""What all tables are made of: their metadata, and the kinds of columns."""

from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Text, text

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def text_column(name: str, *, default: str | None = None) -> Column[str]:
    """Text that is always there."""
    return Column(name, Text, nullable=False, server_default=None if default is None else text(f"'{default}'"))


def number(name: str, *, default: int | None = None) -> Column[int]:
    """A number, a moment or a truth value that is always there."""
    return Column(name, BigInteger, nullable=False, server_default=None if default is None else text(str(default)))


def id_column() -> Column[str]:
    """The primary key of most tables."""
    return Column("id", Text, primary_key=True)


def refers(name: str, target: str) -> Column[str]:
    """A row of another table."""
    return Column(name, Text, ForeignKey(target), nullable=False)
