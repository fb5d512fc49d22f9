"""Why a study does not move: no live device, no compute, a step that fails.

Depends on: the store. Looks at all studies at once, so that a hundred cost as little as one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache, partial

from stillhouse_benchmark.protocol import COMPILES
from stillhouse_service.loading import PROPOSALS, load
from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState
from stillhouse_service.store import Store, UnitOfWork

_ACTIVE = (StudyState.CHECKING, StudyState.RUNNING, StudyState.PAUSED)
# How the watchdog's reasons begin.
_NO_WORKER = "no live worker offers "
_NO_COMPUTE = "nothing can be compressed: "
_STUCK = "its next step fails, and is tried again every few seconds (the server's log has more): "
_OURS = (_NO_WORKER, _NO_COMPUTE, _STUCK)


@cache
def _load_ahead() -> None:
    """Import what proposals need while a study's device is still looked at: seconds, once."""
    threading.Thread(target=load, args=(PROPOSALS,), name="load ahead", daemon=True).start()


class Watchdog:
    """Keeps the reasons of studies true to whether their waiting stages can be done at all."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    def look(
        self, compute_problem: str | None, unmet: Mapping[str, str], stuck: Mapping[str, str]
    ) -> None:
        """Look at every study that has not ended, and say why it waits.

        Args:
            compute_problem: Why nothing can be compressed now; none: it can.
            unmet: What no compute worker offers, by study.
            stuck: The error that a study's next step ends with, by study.
        """
        with self._store.read() as view:
            studies = view.studies.standing_in(_ACTIVE)
            waiting = view.stages.waiting_of_studies()
            if any(state == StudyState.CHECKING for _, state, _, _ in studies):
                _load_ahead()
            missing = cache(partial(self._missing, view))
            found: dict[str, tuple[StudyState, str | None, str | None]] = {}
            for study_id, state, reason, device in studies:
                if reason is not None and not reason.startswith(_OURS):
                    continue  # somebody else's
                lanes = waiting.get(study_id, {})
                why = f"{_STUCK}{stuck[study_id]}" if study_id in stuck else None
                if why is None and "device" in lanes:
                    why = missing(lanes["device"] or device or "")
                problem = compute_problem or unmet.get(study_id)
                if why is None and "compute" in lanes and problem is not None:
                    why = f"{_NO_COMPUTE}{problem}"
                if why != reason:
                    found[study_id] = state, reason, why
        if not found:
            return
        with self._store.begin() as work:
            for study_id, (state, reason, why) in found.items():
                study = work.studies.named(study_id)
                # A report may have ended it since: why it ended matters, not why it waited.
                if (study.state, study.reason) == (state, reason):
                    study.reason = why

    def _missing(self, view: UnitOfWork, device: str) -> str | None:
        """Say that no live host offers a device; none: one does."""
        seen: datetime | None = view.devices.last_seen(device)
        if seen is None:
            return (
                f"{_NO_WORKER}{device}, and none ever has: start one with "
                f"`stillhouse-worker --server URL --device {_host_of(device)}`"
            )
        if view.now - seen < timedelta(seconds=self._settings.device_ttl_s):
            return None
        return f"{_NO_WORKER}{device} since {seen:%Y-%m-%dT%H:%M:%SZ}"


def _host_of(device: str) -> str:
    """Say what a worker has to serve to offer this; the stick's compiler comes with its runtime."""
    if device.startswith(COMPILES):
        return "CPU` with OpenVINO 2021.4.2 (docs/devices.md), or with `--device MYRIAD"
    return device
