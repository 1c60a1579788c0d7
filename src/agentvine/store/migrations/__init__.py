"""Alembic's folder: the schema's history. `agentvine.store.migrate` runs it."""
