"""Webhooks as Gitea sends them: signed with a secret that the operator gave to both sides."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
from pydantic import JsonValue

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Hook:
    """Where it rings."""

    url: str
    secret: str = field(repr=False)


class Webhooks:
    """Sends what happens to `hook`, once there is one. A delivery that fails is not made again: it is only a bell."""

    def __init__(self) -> None:
        self.hook: Hook | None = None
        self.delivered: list[tuple[str, int]] = []
        """The kind of each event that was sent, and the status of the answer; 0: there was none."""

    async def send(self, kind: str, body: Mapping[str, JsonValue]) -> None:
        """Tell that something has happened."""
        if self.hook is None:
            return
        raw = json.dumps(dict(body)).encode()
        headers = {
            "Content-Type": "application/json",
            "X-Gitea-Delivery": str(uuid4()),
            "X-Gitea-Event": kind,
            "X-Gitea-Event-Type": kind,
            "X-Gitea-Signature": hmac.new(self.hook.secret.encode(), raw, hashlib.sha256).hexdigest(),
        }
        try:
            async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
                answer = await client.post(self.hook.url, content=raw, headers=headers)
        except httpx.HTTPError:
            self.delivered.append((kind, 0))
            return
        self.delivered.append((kind, answer.status_code))
