"""Executions: what the worker reports, and what is kept of it."""

from agentvine.server.api.endpoints import Api
from agentvine.wire import messages as m
from agentvine.wire import routes
from agentvine.wire.control_plane import ControlPlane

api = Api("executions")


@api.hot(routes.PHASE)
async def phase(plane: ControlPlane, report: m.PhaseReport, execution_id: str) -> None:
    """Report progress."""
    await plane.phase(execution_id, report)


@api.hot(routes.ADD_TRANSCRIPT)
async def add_transcript(plane: ControlPlane, batch: m.TranscriptBatch, execution_id: str) -> None:
    """Store entries of the transcript; those that are there already are passed over."""
    await plane.add_transcript(execution_id, batch)


@api.hot(routes.ADD_EVIDENCE)
async def add_evidence(plane: ControlPlane, report: m.EvidenceReport, execution_id: str) -> None:
    """Record the findings of the verification."""
    await plane.add_evidence(execution_id, report)
