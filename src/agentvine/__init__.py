"""AgentVine runs a fleet of Claude Code workers against your git repositories."""

__version__ = "0.1.0"
