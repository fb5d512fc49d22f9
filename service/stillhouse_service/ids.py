"""Names of things: opaque prefixed ids, lease tokens, trial seeds, the server's clock.

Depends on: the standard library.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Literal

Prefix = Literal["bsl", "std", "trl", "wrk", "dev", "lse", "job", "tok", "whk", "exp"]


def new_id(prefix: Prefix) -> str:
    """Make an id that nobody else has: `trl_` and 16 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(8)}"


def new_token() -> str:
    """Make a fencing token: who does not hold it cannot report for the lease."""
    return secrets.token_urlsafe(18)


def trial_seed(study_seed: int, number: int) -> int:
    """Derive a trial's seed, in [0, 2**31), from its study's; a restart changes nothing."""
    digest = hashlib.sha256(f"{study_seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def utc_now() -> datetime:
    """The time now, with its zone."""
    return datetime.now(UTC)
