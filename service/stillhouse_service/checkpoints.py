"""The last checkpoint of each compute stage that runs, in the artifact store.

Depends on: artifact_places. One file a stage, over the one before; not content-addressed, so its
hash stands at its head. A stage that ends takes its checkpoint along.
"""

from __future__ import annotations

import hashlib
import logging

from stillhouse_service.artifact_places import Place

PREFIX = "checkpoints/"
_log = logging.getLogger(__name__)
_HEAD = 65  # a hash and a line's end


def name_of(stage_id: str) -> str:
    """Say under which name a stage's checkpoint is kept."""
    return f"{PREFIX}{stage_id}"


def save(place: Place, stage_id: str, content: bytes) -> None:
    """Keep a stage's state; a store that cannot take it costs the checkpoint, not the training."""
    head = hashlib.sha256(content).hexdigest().encode() + b"\n"
    try:
        place.write(name_of(stage_id), head + content)
    except OSError as error:
        _log.warning("no checkpoint could be written, the training goes on: %s", error)


def load(place: Place, stage_id: str) -> bytes | None:
    """Read what was kept last; none: nothing, or it is damaged."""
    try:
        found = place.read(name_of(stage_id))
    except FileNotFoundError:
        return None
    except OSError as error:
        _log.warning("the checkpoint cannot be read, the training begins anew: %s", error)
        return None
    head, content = found[:_HEAD], found[_HEAD:]
    if head.decode("ascii", "replace") != hashlib.sha256(content).hexdigest() + "\n":
        _log.warning("the checkpoint is damaged, the training begins anew")
        return None
    return content


def remove(place: Place, stage_id: str) -> None:
    """Forget a stage's checkpoint; one that cannot be removed is left to garbage collection."""
    try:
        place.remove(name_of(stage_id))
    except OSError as error:
        _log.warning("the checkpoint of %s could not be removed: %s", stage_id, error)
