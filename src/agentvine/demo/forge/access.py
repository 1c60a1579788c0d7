"""Who may ask the forge: whoever shows its one token, as Gitea takes them."""

import base64
import binascii
import hmac

from starlette.requests import Request


class Access:
    """`refused` counts the requests that were turned away."""

    def __init__(self, token: str) -> None:
        self._token = token
        self.refused = 0

    def lets_in(self, request: Request) -> bool:
        """Whether the request shows the token: `token …` or `Bearer …` for the API, a password of any user for git."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            given = _password(given)
        fits = hmac.compare_digest(given.strip().encode(), self._token.encode())
        self.refused += not fits
        return fits


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
