"""The model's gateway as tests meet it, with a server behind it that plays the model."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from agentvine.domain.execution import Usage
from agentvine.kit.clock import SystemClock
from agentvine.worker.sandbox.base import EgressRecord, Upstream
from agentvine.worker.sandbox.model_gateway import ModelGateway
from tests.security.boxes import SOON
from tests.security.outside import Server, outside, served

KEY = "sk-ant-real-key-that-stays-outside"
MODEL = "claude-opus-5-5"
ASK = {"model": MODEL, "stream": True, "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class Gate:
    """A gateway, the model's side behind it, and what was noted."""

    port: int
    model: Server
    gateway: ModelGateway
    records: list[EgressRecord]
    metered: list[Usage]

    async def post(self, body: object, path: str = "/v1/messages", **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            return await client.post(f"http://127.0.0.1:{self.port}{path}", json=body, headers=headers, timeout=SOON)


def stream(*, inputs: int = 1000, outputs: int = 10, whole: bool = True) -> bytes:
    """An answer of the model as a stream, as it goes over the wire."""
    told: list[object] = [
        {"type": "message_start", "message": {"usage": {"input_tokens": inputs, "output_tokens": 1}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "word " * 200}},
    ]
    if whole:
        told.append({"type": "message_delta", "delta": {}, "usage": {"output_tokens": outputs}})
    body = b"".join(b"event: e\ndata: " + json.dumps(one).encode() + b"\n\n" for one in told)
    length = len(body) if whole else len(body) + 1000
    head = (
        f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


@asynccontextmanager
async def gated(answer: bytes, budget: float = 5.0, model: Server | None = None, **wishes: bool) -> AsyncIterator[Gate]:
    records: list[EgressRecord] = []
    metered: list[Usage] = []
    async with outside(model or Server(answer)) as model:
        upstream = Upstream(f"http://127.0.0.1:{model.port}", KEY, budget, **wishes)
        gateway = ModelGateway(upstream, record=records.append, meter=metered.append, clock=SystemClock())
        async with served(gateway) as port:
            yield Gate(port, model, gateway, records, metered)
        await gateway.close()
