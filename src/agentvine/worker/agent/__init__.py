"""The coding agent behind its port: Claude Code."""
