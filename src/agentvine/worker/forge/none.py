"""A bare git remote: the branch is named, and that is all."""

from agentvine.worker.forge.base import Proposal, Review


class NoForge:
    """Implements `Forge`."""

    opens_pull_requests = False

    async def propose(self, proposal: Proposal) -> str | None:
        """Nothing can be proposed."""
        return None

    async def review(self, review: Review) -> str | None:
        """Nothing can be reviewed."""
        return None
