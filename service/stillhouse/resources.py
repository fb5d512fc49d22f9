"""The server's collections: baselines, studies, trials, artifacts, models, data sets, devices.

Depends on: the standard library; `transport` speaks HTTP.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from stillhouse.errors import ArtifactCorrupt, StillhouseError
from stillhouse.experiments import Experiment
from stillhouse.front import Front
from stillhouse.importance import Importance
from stillhouse.shapes import AskedTrial, Baseline, Json, Trial, TrialDetail
from stillhouse.study import Study
from stillhouse.transport import Transport
from stillhouse.waiting import wait_until_over

if TYPE_CHECKING:
    import pandas as pd

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
        return Study.at(self, self._transport.post(_path("studies"), dict(spec)))

    def list(
        self,
        states: Sequence[str] = (),
        name: str | None = None,
        device: str | None = None,
        order: str = "-created",
    ) -> Sequence[Study]:
        """Give all of them, or those that are looked for.

        Args:
            states: In any of these; empty: in any.
            name: Part of their name, whatever the case.
            device: As their specs name it.
            order: `-created` (newest first), `created`, `name` or `-name`.
        """
        asked: dict[str, str | int | Sequence[str]] = {"page_size": _PAGE_SIZE, "order": order}
        asked |= {"state": states} if states else {}
        asked |= {} if name is None else {"name": name}
        asked |= {} if device is None else {"device": device}
        items = self._transport.pages(_path("studies"), asked)
        return [Study.at(self, item) for item in items]

    def get(self, study_id: str) -> Study:
        """Give one as it stands now."""
        return Study.at(self, self._transport.get(_path("studies", study_id)))

    def clone(self, study_id: str, changes: Json | None = None) -> Study:
        """Start a study like this one.

        Args:
            study_id: The study to copy; its trials stay its own.
            changes: Members of a StudySpec that the new one has instead, such as `budget`.

        Raises:
            ProblemError: What comes out cannot work.
        """
        path = _path("studies", study_id, "clone")
        return Study.at(self, self._transport.post(path, dict(changes or {})))

    def enqueue(self, study_id: str, config: Json) -> Trial:
        """Run a config of your own as its next trial; the optimizer learns from it.

        Raises:
            ProblemError: It is none of the study's space, or the study takes no more trials.
        """
        path = _path("studies", study_id, "trials")
        return Trial.from_json(self._transport.post(path, {"config": dict(config)}))

    def ask(self, study_id: str, n: int = 1, lease_s: float = 3600.0) -> Sequence[AskedTrial]:
        """Get the next trials to run, of a study whose trials are run outside.

        Args:
            study_id: A study of runner `outside`.
            n: How many are wanted, at most 64.
            lease_s: Time to tell what came of each; `trials.extend` gives more.

        Returns:
            At most n of them; none when the study is over or all its trials are given out.

        Raises:
            ProblemError: The study is run by the server, is paused or was ended early.
        """
        path = _path("studies", study_id, "ask")
        answer = self._transport.post(path, {"n": n, "lease_s": lease_s})
        return [AskedTrial.from_json(item) for item in answer["items"]]

    def import_trials(
        self, study_id: str, trials: Sequence[Json] | None = None, csv: str | None = None
    ) -> int:
        """Bring trials that were run elsewhere into a study; all of them or none.

        Args:
            study_id: A study that is not over. In one of runner `outside` they count as told; in
                another the optimizer learns from them, and no incumbent comes of them.
            trials: `{"config", "metrics", "state"}` each; `state` may be left out.
            csv: Or a table: columns named after parameters and metrics, perhaps `state`.

        Returns:
            How many.

        Raises:
            ProblemError: One is none of the study's space or lacks a metric; `problems` has all.
        """
        body = {"csv": csv} if trials is None else {"trials": [dict(one) for one in trials]}
        answer = self._transport.post(_path("studies", study_id, "trials", "import"), body)
        return int(answer["n"])

    def finalize(
        self,
        study_id: str,
        training: Json | None = None,
        seed: int | None = None,
        trial_id: str | None = None,
    ) -> Experiment:
        """Train its winner at full length and measure it on the test split.

        Args:
            study_id: A study that has ended, with a winner.
            training: Settings instead of the server's choice: as long as the baseline's recipe.
            seed: None: one that no trial of the study had.
            trial_id: Another trial that keeps the limits, such as one of the front; None: the
                incumbent.

        Raises:
            ProblemError: It has not ended, has no winner, or the training does not fit.
        """
        body = {"training": dict(training or {}), "seed": seed, "trial": trial_id}
        return Experiment.from_json(
            self._transport.post(_path("studies", study_id, "finalize"), body)
        )

    def set_priority(self, study_id: str, priority: int) -> Study:
        """Let its work go before that of studies with a lower priority; all begin with 0."""
        path = _path("studies", study_id, "priority")
        return Study.at(self, self._transport.post(path, {"priority": priority}))

    def cancel(self, study_id: str) -> Study:
        """End it early; finished trials stay."""
        path = _path("studies", study_id, "cancel")
        return Study.at(self, self._transport.post(path))

    def pause(self, study_id: str) -> Study:
        """Start no more trials; those on their way go on."""
        path = _path("studies", study_id, "pause")
        return Study.at(self, self._transport.post(path))

    def resume(self, study_id: str) -> Study:
        """Go on with a paused study."""
        path = _path("studies", study_id, "resume")
        return Study.at(self, self._transport.post(path))

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

    def trials(
        self,
        study_id: str,
        states: Sequence[str] = (),
        is_feasible: bool | None = None,
        order: str = "number",
    ) -> Sequence[Trial]:
        """Give every trial of it, or those that are looked for.

        Args:
            study_id: The study.
            states: In any of these; empty: in any.
            is_feasible: Whether they keep the limits; None: it does not matter.
            order: `number`, or a metric, least first (trials without it are left out); `-` in
                front turns it round.
        """
        asked: dict[str, str | int | Sequence[str]] = {"page_size": _PAGE_SIZE, "order": order}
        asked |= {"state": states} if states else {}
        asked |= {} if is_feasible is None else {"is_feasible": is_feasible}
        items = self._transport.pages(_path("studies", study_id, "trials"), asked)
        return [Trial.from_json(item) for item in items]

    def trials_dataframe(self, study_id: str) -> pd.DataFrame:
        """Give every trial as a row of a pandas data frame; see `Study.trials_dataframe`.

        Raises:
            StillhouseError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise StillhouseError(
                "a data frame needs pandas: pip install 'stillhouse[dataframe]'"
            ) from error
        path = _path("studies", study_id, "trials")
        text = self._transport.get_made(path, {"format": "csv"}).text
        # Only an empty cell is missing: "null" and "None" may be values of a choice.
        frame = pd.read_csv(io.StringIO(text), keep_default_na=False, na_values=[""])
        for name in ("datetime_start", "datetime_complete"):
            frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
        frame["duration"] = pd.to_timedelta(frame["duration"].astype(float), unit="s")
        return frame

    def importance(self, study_id: str) -> Importance:
        """Say which parameters mattered for which metric (fANOVA over the finished trials)."""
        path = _path("studies", study_id, "importance")
        return Importance.from_json(self._transport.get_made_json(path))

    def front(self, study_id: str) -> Front:
        """Say which trials of several objectives no other beats, and how the front has grown."""
        return Front.from_json(self._transport.get(_path("studies", study_id, "front")))

    def transfer(self, study_id: str) -> Json:
        """Say which earlier studies it learns from and how much each counts.

        Returns:
            `sources`: `study_id`, `name`, `n_trials`, `n_within`, `shared`, `only_here`,
            `weights` (metric -> share in the last proposal) and `agreement` (metric -> Kendall's
            rank correlation of its predictions with this study's trials); `history`: `number`,
            `weights` and `agreement` of every proposal of the model.
        """
        return dict(self._transport.get(_path("studies", study_id, "transfer")))

    def report(self, study_id: str, form: str = "html") -> str:
        """Give the report: `html` (one self-contained page), `md` (Markdown) or `json`."""
        path = _path("studies", study_id, "report")
        return self._transport.get_made(path, {"format": form}).text


class TrialsById:
    """Trials of any study."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, trial_id: str) -> TrialDetail:
        """Give one with its layers, schedule, events and measurements."""
        return TrialDetail.from_json(self._transport.get(_path("trials", trial_id)))

    def tell(self, asked: AskedTrial, metrics: Mapping[str, float]) -> Trial:
        """Say what was measured of an asked trial; saying it again is harmless.

        Args:
            asked: From `studies.ask`.
            metrics: The study's objective, every limited metric and what else is worth keeping;
                `<metric>_low` and `<metric>_high` are ends of an interval.

        Raises:
            ProblemError: A metric is missing, not finite or impossible; the trial was told before
                with other values, or is somebody else's by now.
        """
        return self._tell(asked, {"metrics": dict(metrics)})

    def tell_failure(self, asked: AskedTrial, reason: str, kind: str = "failed") -> Trial:
        """Say that an asked trial has no result; the optimizer learns from that too.

        Args:
            asked: From `studies.ask`.
            reason: One or two sentences.
            kind: `failed`, `diverged`, `out-of-memory` or `unsupported` (it could never run).
        """
        return self._tell(asked, {"failure": {"class": kind, "reason": reason}})

    def extend(
        self, asked: AskedTrial, lease_s: float = 3600.0, progress: Json | None = None
    ) -> bool:
        """Keep an asked trial for so much longer; tell whether its result is still wanted.

        Raises:
            ProblemError: It is somebody else's by now.
        """
        body = {"token": asked.token, "lease_s": lease_s, "progress": dict(progress or {})}
        answer = self._transport.post(_path("trials", asked.id, "extend"), body)
        return not answer["is_cancelled"]

    def _tell(self, asked: AskedTrial, what: Json) -> Trial:
        body = {"token": asked.token, **what}
        return Trial.from_json(self._transport.post(_path("trials", asked.id, "tell"), body))


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


class Webhooks:
    """Addresses that the server tells of events; for administrators."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, url: str, kinds: Sequence[str] = (), study_id: str | None = None) -> Json:
        """Have an address told of events from now on; the answer alone holds its `secret`.

        Args:
            url: Of the public internet, unless the server's settings allow more.
            kinds: Kinds of events, such as `state` or `incumbent`; empty: all.
            study_id: Of this study alone.

        Raises:
            ProblemError: The server does not call that address.
        """
        body = {"url": url, "kinds": list(kinds), "study": study_id}
        return dict(self._transport.post(_path("webhooks"), body))

    def list(self) -> Sequence[Json]:
        """Give all of them, newest first, without secrets."""
        return list(self._transport.pages(_path("webhooks")))

    def end(self, webhook_id: str) -> Json:
        """Tell it nothing more."""
        return dict(self._transport.post(_path("webhooks", webhook_id, "end")))

    def deliveries(self, webhook_id: str) -> Sequence[Json]:
        """Give what it was told and what became of that, newest first."""
        path = _path("webhooks", webhook_id, "deliveries")
        return list(self._transport.pages(path, {"page_size": _PAGE_SIZE}))


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
