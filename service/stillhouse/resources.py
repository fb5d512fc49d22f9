"""The server's collections: baselines, studies, trials, artifacts, models, data sets, devices.

Depends on: the standard library; `transport` speaks HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from stillhouse.errors import ArtifactCorrupt
from stillhouse.shapes import Baseline, Importance, Json, Study, Trial, TrialDetail
from stillhouse.transport import Transport
from stillhouse.waiting import wait_until_over

_PAGE_SIZE = 200


def _path(*parts: str) -> str:
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Baselines:
    """Networks to compress, trained by recipe."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self, model: str, dataset: str, recipe: Json | None = None, seed: int = 0
    ) -> Baseline:
        """Order a training.

        Args:
            model: Name of a network; `client.models.list()` has them.
            dataset: Name of a data set; `client.datasets.list()` has them.
            recipe: `epochs`, `lr`, ...; what is left out is the server's choice.
            seed: Of everything random in it.

        Raises:
            ProblemError: The server knows no such network, data set or setting.
        """
        body = {"model": model, "dataset": dataset, "recipe": dict(recipe or {}), "seed": seed}
        return Baseline.from_json(self._transport.post(_path("baselines"), body))

    def list(self) -> Sequence[Baseline]:
        """Give all of them, newest first."""
        items = self._transport.pages(_path("baselines"), {"page_size": _PAGE_SIZE})
        return [Baseline.from_json(item) for item in items]

    def get(self, baseline_id: str) -> Baseline:
        """Give one as it stands now."""
        return Baseline.from_json(self._transport.get(_path("baselines", baseline_id)))

    def wait(
        self,
        baseline_id: str,
        timeout_s: float | None = None,
        poll_s: float = 0.5,
        on_change: Callable[[Baseline], None] | None = None,
    ) -> Baseline:
        """Wait until its training has ended, well or not; see `wait_until_over`."""
        return wait_until_over(
            lambda: self.get(baseline_id),
            f"baseline {baseline_id}",
            timeout_s,
            poll_s,
            on_change=on_change,
        )


class Studies:
    """Searches for the best schedule, each on one baseline and one device."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, spec: Json) -> Study:
        """Start a study.

        Args:
            spec: A StudySpec as docs/api.md draws it; `template` and `training` are YAML text.

        Raises:
            ProblemError: The spec cannot work; `problems` names everything wrong by its path.
        """
        return Study.from_json(self._transport.post(_path("studies"), dict(spec)))

    def list(self) -> Sequence[Study]:
        """Give all of them, newest first."""
        items = self._transport.pages(_path("studies"), {"page_size": _PAGE_SIZE})
        return [Study.from_json(item) for item in items]

    def get(self, study_id: str) -> Study:
        """Give one as it stands now."""
        return Study.from_json(self._transport.get(_path("studies", study_id)))

    def clone(self, study_id: str, changes: Json | None = None) -> Study:
        """Start a study like this one.

        Args:
            study_id: The study to copy; its trials stay its own.
            changes: Members of a StudySpec that the new one has instead, such as `budget`.

        Raises:
            ProblemError: What comes out cannot work.
        """
        path = _path("studies", study_id, "clone")
        return Study.from_json(self._transport.post(path, dict(changes or {})))

    def enqueue(self, study_id: str, config: Json) -> Trial:
        """Run a config of your own as its next trial; the optimizer learns from it.

        Raises:
            ProblemError: It is none of the study's space, or the study takes no more trials.
        """
        path = _path("studies", study_id, "trials")
        return Trial.from_json(self._transport.post(path, {"config": dict(config)}))

    def set_priority(self, study_id: str, priority: int) -> Study:
        """Let its work go before that of studies with a lower priority; all begin with 0."""
        path = _path("studies", study_id, "priority")
        return Study.from_json(self._transport.post(path, {"priority": priority}))

    def cancel(self, study_id: str) -> Study:
        """End it early; finished trials stay."""
        path = _path("studies", study_id, "cancel")
        return Study.from_json(self._transport.post(path))

    def pause(self, study_id: str) -> Study:
        """Start no more trials; those on their way go on."""
        path = _path("studies", study_id, "pause")
        return Study.from_json(self._transport.post(path))

    def resume(self, study_id: str) -> Study:
        """Go on with a paused study."""
        path = _path("studies", study_id, "resume")
        return Study.from_json(self._transport.post(path))

    def wait(
        self,
        study_id: str,
        timeout_s: float | None = None,
        poll_s: float = 1.0,
        on_change: Callable[[Study], None] | None = None,
    ) -> Study:
        """Wait until it is over, however it ends; see `wait_until_over`."""
        return wait_until_over(
            lambda: self.get(study_id), f"study {study_id}", timeout_s, poll_s, on_change=on_change
        )

    def trials(self, study_id: str) -> Sequence[Trial]:
        """Give every trial of it, in `number` order."""
        items = self._transport.pages(
            _path("studies", study_id, "trials"), {"page_size": _PAGE_SIZE}
        )
        return [Trial.from_json(item) for item in items]

    def importance(self, study_id: str) -> Importance:
        """Say which parameters mattered for which metric (fANOVA over the finished trials)."""
        return Importance.from_json(self._transport.get(_path("studies", study_id, "importance")))

    def report(self, study_id: str) -> str:
        """Give the report: one self-contained HTML page."""
        return self._transport.get_text(_path("studies", study_id, "report"))


class TrialsById:
    """Trials of any study."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, trial_id: str) -> TrialDetail:
        """Give one with its layers, schedule, events and measurements."""
        return TrialDetail.from_json(self._transport.get(_path("trials", trial_id)))


class Artifacts:
    """Stored bytes, named by their SHA-256."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def download(self, sha256: str, to: Path | None = None) -> bytes:
        """Get the bytes, checked against their name.

        Args:
            sha256: 64 hexadecimal digits.
            to: Also write them here; nothing is written if they turn out wrong.

        Raises:
            ArtifactCorrupt: They do not have that hash.
            ProblemError: The server has no such artifact.
        """
        with self._transport.stream(_path("artifacts", sha256)) as pieces:
            data = b"".join(pieces)
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ArtifactCorrupt(f"artifact {sha256} came with the hash {found}")
        if to is not None:
            to.write_bytes(data)
        return data


class Catalogue:
    """What the server has: networks, data sets, devices."""

    def __init__(self, transport: Transport, noun: str) -> None:
        self._transport = transport
        self._noun = noun

    def list(self) -> Sequence[Json]:
        """Give all of them."""
        return list(self._transport.pages(_path(self._noun)))

    def get(self, name: str, **query: str | int) -> Json:
        """Give one in full, by its name or id.

        Args:
            name: Of one of them; the server tells networks and devices.
            query: E.g. `n_classes=7` of a network.

        Raises:
            ProblemError: The server has no such one.
        """
        answer: Json = self._transport.get(_path(self._noun, name), query)
        return answer
