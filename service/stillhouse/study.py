"""A study as the client shows it: where it stands, and what can be asked of it.

Depends on: the standard library; pandas for `trials_dataframe` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from stillhouse.errors import StillhouseError
from stillhouse.front import Front
from stillhouse.importance import Importance
from stillhouse.progress import ProgressLine
from stillhouse.shapes import Json, Shape, Trial

if TYPE_CHECKING:
    import pandas as pd

    from stillhouse.resources import Studies


@dataclass(frozen=True, kw_only=True)
class Study(Shape):
    """A study and where it stands.

    Attributes:
        reason: Why it ended as it did, or why it does not move; None if there is nothing to say.
        counts: Trials by state, and `feasible`.
        baseline_measurement: The baseline on the study's device, validation split.
        incumbent: The best feasible trial so far: `trial_id`, `number`, `is_certain` (the limits
            hold at the unfavourable ends of its intervals too), `is_confirmed` (its latency was
            measured again) and its metrics.
        final: The incumbent measured once on the test split, when the study is over.
        eta_s: Rough time left, seconds.
    """

    id: str
    name: str
    state: str
    reason: str | None
    spec: Json
    parameters: Sequence[Json]
    counts: Mapping[str, int]
    baseline_measurement: Json | None
    incumbent: Json | None
    final: Json | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    eta_s: float | None
    _home: Studies | None = field(default=None, repr=False, compare=False)

    @classmethod
    def at(cls, home: Studies, json: Any) -> Self:
        """Read a study that its own methods can ask `home` about.

        Raises:
            UnexpectedAnswer: `json` is no Study.
        """
        return replace(cls.from_json(json), _home=home)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("finished", "cancelled", "rejected", "failed")

    def refresh(self) -> Study:
        """Give it as it stands now."""
        return self._studies.get(self.id)

    def wait(
        self,
        timeout_s: float | None = None,
        poll_s: float = 1.0,
        progress: bool = False,
        on_change: Callable[[Study], None] | None = None,
    ) -> Study:
        """Wait until it is over, however it ends, and give it as it ended.

        Args:
            timeout_s: Longest wait; None waits as long as it takes.
            poll_s: Seconds between two questions.
            progress: Whether to keep a line on stderr: trials, best feasible, time left.
            on_change: Told of every answer that differs from the one before.

        Raises:
            WaitTimeout: `timeout_s` went by.
            ConnectionFailed: The server was silent for longer than 30 s.
        """
        line = ProgressLine() if progress else None

        def told(study: Study) -> None:
            if line is not None:
                line.show(study)
            if on_change is not None:
                on_change(study)

        try:
            return self._studies.wait(self.id, timeout_s, poll_s, told)
        finally:
            if line is not None:
                line.close()

    def trials(self) -> Sequence[Trial]:
        """Give every trial of it, in `number` order."""
        return self._studies.trials(self.id)

    def trials_dataframe(self) -> pd.DataFrame:
        """Give every trial as a row of a pandas data frame, under Optuna's column names.

        `number`, `values_<objective>`, `datetime_start`, `datetime_complete`, `duration`,
        `params_<name>` (empty where inactive), `user_attrs_<other metric or member>`, `state`.

        Raises:
            StillhouseError: pandas is not installed.
        """
        return self._studies.trials_dataframe(self.id)

    def importance(self) -> Importance:
        """Say which parameters mattered for which metric; waits until that is worked out."""
        return self._studies.importance(self.id)

    def front(self) -> Front:
        """Say which of its trials no other beats in all its objectives, of which it has several."""
        return self._studies.front(self.id)

    def report(self, form: str = "html") -> str:
        """Give the report: `html` (one self-contained page), `md` or `json`."""
        return self._studies.report(self.id, form)

    def pause(self) -> Study:
        """Start no more trials; those on their way go on."""
        return self._studies.pause(self.id)

    def resume(self) -> Study:
        """Go on after a pause."""
        return self._studies.resume(self.id)

    def cancel(self) -> Study:
        """End it early; finished trials stay."""
        return self._studies.cancel(self.id)

    @property
    def _studies(self) -> Studies:
        if self._home is None:
            raise StillhouseError(f"study {self.id} was read without a client; get it from one")
        return self._home
