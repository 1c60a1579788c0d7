"""Sends one message through apprise: a program of its own, which reads what to send as JSON from its input.

`{"url": …}` alone asks whether apprise understands the address. Nothing is printed: apprise's words may hold secrets.
"""

import json
import sys

SENT, NOT_SENT, UNKNOWN_ADDRESS, NOT_INSTALLED = 0, 11, 12, 13
"""Exit codes, apart from those that Python itself ends with."""


def main() -> int:
    """Returns the exit code."""
    try:
        import apprise
    except ImportError:
        return NOT_INSTALLED
    message = json.load(sys.stdin)
    reached = apprise.Apprise()
    if not reached.add(message["url"]):
        return UNKNOWN_ADDRESS
    if "body" not in message:
        return SENT
    sent = reached.notify(body=message["body"], title=message["title"], body_format=apprise.NotifyFormat.TEXT)
    return SENT if sent else NOT_SENT


if __name__ == "__main__":
    sys.exit(main())
