"""Whether a webhook's message comes from the server it says it comes from.

Depends on: the standard library.
"""

from __future__ import annotations

import hashlib
import hmac
import time

HEADER = "Stillhouse-Signature"


def sign(secret: str, body: bytes, at_s: int) -> str:
    """Give the value of the header `Stillhouse-Signature` of a message sent at `at_s`."""
    return f"t={at_s},v1={_digest(secret, body, at_s)}"


def is_genuine(
    secret: str, signature: str, body: bytes, now_s: float | None = None, tolerance_s: float = 300
) -> bool:
    """Tell whether a message was signed with this secret, not long ago.

    Args:
        secret: As `POST /v1/webhooks` showed it.
        signature: The header `Stillhouse-Signature`.
        body: The body, as it came.
        now_s: Seconds since 1970; the clock's where left out.
        tolerance_s: An older message may have been recorded and sent again.
    """
    parts = dict(part.partition("=")[::2] for part in signature.split(","))
    stamp = parts.get("t", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 12):
        return False
    is_fresh = abs((time.time() if now_s is None else now_s) - int(stamp)) <= tolerance_s
    wanted = _digest(secret, body, int(stamp))
    return hmac.compare_digest(wanted.encode(), parts.get("v1", "").encode()) and is_fresh


def _digest(secret: str, body: bytes, at_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
