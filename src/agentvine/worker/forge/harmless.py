"""Text of agents and of repositories, made so that a forge only shows it: `agentvine.domain.harmless`."""

from agentvine.domain.harmless import GAP, bounded, fenced, harmless, harmless_line, quoted

__all__ = ["GAP", "bounded", "fenced", "harmless", "harmless_line", "quoted"]
