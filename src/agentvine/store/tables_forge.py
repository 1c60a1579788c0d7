"""The part of the schema that has to do with forges and with what operators say of repositories; see tables.py."""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from agentvine.store.columns import id_column, metadata, number, text_column

repositories = Table(
    "repositories",
    metadata,
    id_column(),
    text_column("address"),
    text_column("settings"),
    number("created_at"),
    text_column("created_by"),
    number("updated_at"),
    Column("credential", Text),
    Column("secret", Text),
    Column("webhook", Text),
    Column("trouble", Text),
    Column("named", Text),
    Column("folded", Text),
    UniqueConstraint("address"),
    Index("ix_repositories_folded", "folded"),
)
"""What operators say of repositories. `address` is the normal form of theirs, and `folded` the same in lower case, if
the forge tells none apart by case; `credential` says what kind is kept, and `secret` and `webhook` are sealed. `named`
says since when each user is named in the settings."""

repository_spellings = Table(
    "repository_spellings",
    metadata,
    Column("url", Text, primary_key=True),
    text_column(
        "repository_id"
    ),  # no foreign key, here and below: what is removed meanwhile must not fail an order's end
    Index("ix_repository_spellings_repository_id", "repository_id"),
)
"""Under which addresses orders name a repository that the server knows, each as it was written."""

repository_days = Table(
    "repository_days",
    metadata,
    text_column("repository_id"),
    number("day"),
    Column("spent_usd", Float, nullable=False),
    PrimaryKeyConstraint("repository_id", "day"),
)
"""What executions that ended on a day (counted from 1970, UTC) have cost."""

errands = Table(
    "errands",
    metadata,
    id_column(),
    text_column("key"),
    text_column("repository"),
    text_column("errand"),
    number("due"),
    number("not_before", default=0),
    number("ready_at"),
    number("version", default=1),
    Column("worker_id", Text),
    number("given_version", default=0),
    number("tries", default=0),
    text_column("unable", default="[]"),
    text_column("trouble", default=""),
    UniqueConstraint("key"),
    Index("ix_errands_ready_at", "ready_at", "id"),
    Index("ix_errands_repository", "repository"),
    Index("ix_errands_worker_id", "worker_id"),
)
"""What the server wants of forges. `ready_at` is when somebody may take it: the later of `due` and `not_before`, or, of
one that `worker_id` has, the end of that worker's time. `version` grows with each wish, and `given_version` is the one
that the worker was given."""

intake = Table(
    "intake",
    metadata,
    text_column("address"),
    text_column("what"),
    text_column("task_id"),
    number("at"),
    PrimaryKeyConstraint("address", "what"),
)
"""What was made of issues and comments on forges. Never removed, so that nothing is made of them again."""

intake_tasks = Table(
    "intake_tasks",
    metadata,
    Column("task_id", Text, primary_key=True),
    text_column("repository_id"),
    number("number"),
    number("is_pull"),
    text_column("said", default=""),
    Column("asked", Text),
    Column("asked_at", BigInteger),
    Index("ix_intake_tasks_repository_id", "repository_id", "asked"),
)
"""The status comments of tasks from forges: what each is to say, and which request it shows since when."""

intake_looks = Table(
    "intake_looks", metadata, Column("repository_id", Text, primary_key=True), number("seen_to"), text_column("users")
)
"""Up to when everything on the forge was seen, and whose words counted then."""

follow_ups = Table(
    "follow_ups",
    metadata,
    Column("task_id", Text, ForeignKey("tasks.id"), primary_key=True),
    text_column("latest"),
    text_column("state"),
    text_column("content"),
    Index("ix_follow_ups_latest", "latest"),
)
"""Pull requests of ours that are followed, by the task that opened them. `latest` is the task that delivered last."""
