"""Experiments: stages of the research plan, each a list of cases on baselines and devices.

Depends on: the standard library; `transport` speaks HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from stillhouse.shapes import Json, Shape
from stillhouse.transport import Transport
from stillhouse.waiting import wait_until_over

_PAGE_SIZE = 200
_PATH = "/v1/experiments"


@dataclass(frozen=True, kw_only=True)
class Experiment(Shape):
    """An experiment and where it stands.

    Attributes:
        stage: `verify`, `baseline`, `sweep`, `combine` or `finalize`.
        state: `running`, `paused`, `finished`, `cancelled` or `failed`.
        notes: What the server decided while it laid the experiment out.
        n_trials: Of all its studies.
        counts: Trials by state.
        studies: `id`, `model`, `dataset`, `device`, `state`, ... of each of its studies.
        eta_s: Rough time left, seconds.
    """

    id: str
    stage: str
    name: str
    state: str
    spec: Json
    notes: Sequence[str]
    n_trials: int
    counts: Mapping[str, int]
    studies: Sequence[Json]
    eta_s: float | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("finished", "cancelled", "failed")

    @property
    def n_ended(self) -> int:
        """Trials that have ended by themselves."""
        return sum(self.counts.get(s, 0) for s in ("complete", "failed", "unsupported"))


class Experiments:
    """Stages of the research plan."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def plan(self, spec: Json) -> Json:
        """Ask what an experiment would do: `n_trials`, `estimate_s`, `trials`; start nothing.

        Raises:
            ProblemError: The spec cannot work; `problems` names everything wrong by its path.
        """
        answer: Json = self._transport.post(f"{_PATH}/plan", dict(spec))
        return answer

    def create(self, spec: Json) -> Experiment:
        """Start one.

        Args:
            spec: An ExperimentIn as docs/experiments.md draws it.

        Raises:
            ProblemError: The spec cannot work; `problems` names everything wrong by its path.
        """
        return Experiment.from_json(self._transport.post(_PATH, dict(spec)))

    def list(self) -> Sequence[Experiment]:
        """Give all of them, newest first."""
        items = self._transport.pages(_PATH, {"page_size": _PAGE_SIZE})
        return [Experiment.from_json(item) for item in items]

    def get(self, experiment_id: str) -> Experiment:
        """Give one as it stands now."""
        return Experiment.from_json(self._transport.get(self._path(experiment_id)))

    def cancel(self, experiment_id: str) -> Experiment:
        """End it early; finished trials stay."""
        return Experiment.from_json(self._transport.post(self._path(experiment_id, "cancel")))

    def resume(self, experiment_id: str) -> Experiment:
        """Go on with what of it is paused."""
        return Experiment.from_json(self._transport.post(self._path(experiment_id, "resume")))

    def results(self, experiment_id: str, table: str = "trials", format: str = "csv") -> bytes:
        """Give its trials, or the layers of each, as a file.

        Args:
            experiment_id: Which one.
            table: `trials` or `layers`.
            format: `csv`, `json` or `parquet`.

        Raises:
            ProblemError: No such experiment, table or format; or the server writes no Parquet.
        """
        query = f"?table={quote(table)}&format={quote(format)}"
        return self._transport.get_bytes(self._path(experiment_id, "results") + query)

    def analysis(self, experiment_id: str) -> Json:
        """Compare its trials with their baseline: `analyses`, one a baseline and device."""
        answer: Json = self._transport.get(self._path(experiment_id, "analysis"))
        return answer

    def template(self, experiment_id: str, study_id: str | None = None) -> Json:
        """Give the search template that a sweep's findings call for.

        Args:
            experiment_id: The sweep.
            study_id: Of its studies, where it ran on several networks or devices.

        Returns:
            `template` and `training`, YAML text.

        Raises:
            ProblemError: It is no sweep, or nothing of it was faster.
        """
        params = None if study_id is None else {"study": study_id}
        answer: Json = self._transport.get(self._path(experiment_id, "template"), params)
        return answer

    def report(self, experiment_id: str) -> str:
        """Give its report: one self-contained HTML page."""
        return self._transport.get_made(self._path(experiment_id, "report")).text

    def wait(
        self,
        experiment_id: str,
        timeout_s: float | None = None,
        poll_s: float = 1.0,
        on_change: Callable[[Experiment], None] | None = None,
    ) -> Experiment:
        """Wait until it is over, however it ends; see `wait_until_over`."""
        return wait_until_over(
            lambda: self.get(experiment_id),
            f"experiment {experiment_id}",
            timeout_s,
            poll_s,
            on_change=on_change,
        )

    @staticmethod
    def _path(*parts: str) -> str:
        return "/".join([_PATH, *(quote(part, safe="") for part in parts)])
