"""The times and limits on which the server and its workers agree."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """Handed to whatever acts by them. All times are seconds."""

    lease_seconds: float = 45.0
    """How long a lease lasts, from its start or renewal."""
    claim_ack_seconds: float = 30.0
    """How long an order that was handed out may stay without a sign that it arrived."""
    heartbeat_interval: float = 30.0
    """How often workers are expected to send one."""
    silent_heartbeats: int = 3
    """A worker that missed so many counts as offline."""
    repository_concurrency: int = 8
    """How many orders of one repository run at once."""
    approval_seconds: float = 3 * 86_400.0
    """How long an approval of a call holds; after that the same call asks again."""
    reaper_interval: float = 2.0
    """How often ended leases, due orders and the like are looked for."""
    stall_seconds: float = 5.0
    """After a pause of the reaper longer than this nobody is to blame for a late renewal: all leases begin afresh."""
    clock_jump_seconds: float = 2.0
    """The same if the wall clock moved so much more or less than time passed."""
    claim_recheck_seconds: float = 5.0
    """How often a parked claim looks without being rung, while there are few of them."""
    watch_recheck_seconds: float = 2.0
    """How often a reader of events or of a transcript looks without being rung."""

    @property
    def trusted_pause(self) -> float:
        """For so long no server may have been at work, and leases still end as they stand.

        A server that runs forgives itself no longer pause, and a worker whose renewal falls into it can still send it
        again before it stops by itself, which is another third of the lease later.
        """
        return min(self.reaper_interval + self.stall_seconds, self.lease_seconds / 3)

    @property
    def silent_seconds(self) -> float:
        """How long a worker may be silent."""
        return self.heartbeat_interval * self.silent_heartbeats
