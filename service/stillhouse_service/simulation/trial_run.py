"""A study tried out: run at a real server by made-up hosts and workers, and held against the truth.

Depends on: the client, demo_processes, fleet, workers, optimum.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from stillhouse import Client, Study, Trial
from stillhouse_service.baseline_choice import choose_baseline
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.demo_processes import Child, end_all, free_port, wait_for
from stillhouse_service.errors import Problem, SpecRejected
from stillhouse_service.schemas import StudySpec
from stillhouse_service.simulation.fleet import Fleet, simulated_hosts
from stillhouse_service.simulation.hosts import Tally
from stillhouse_service.simulation.law import Law
from stillhouse_service.simulation.optimum import Best, TrueStudy
from stillhouse_service.simulation.workers import simulated_workers

_START_S = 120.0
_POLL_S = 0.2
_LEASE_S = "3"  # hosts die here on purpose: nobody is to wait half a minute for each
# What made-up tasks know nothing of: stages of other kinds, trials that stop early, other studies.
_UNKNOWN = ("probe", "early_stop", "fidelity", "transfer", "warm_start")
_KINDS = ("CPU", "GPU", "MYRIAD")


@dataclass(frozen=True)
class Outcome:
    """What became of a study that was tried out.

    Attributes:
        study: As it ended.
        trials: All of them.
        values: The objective of each complete trial without noise, by number; None where a limit
            is truly broken.
        best: The best config of the space; None: none keeps the limits.
        tally: What the hosts saw.
        elapsed_s: How long it took.
    """

    study: Study
    trials: Sequence[Trial]
    values: Mapping[int, float | None]
    best: Best | None
    tally: Tally
    elapsed_s: float

    @property
    def found(self) -> float | None:
        """The incumbent's objective without noise; None: there is none, or it breaks a limit."""
        incumbent = self.study.incumbent
        return None if incumbent is None else self.values.get(int(incumbent["number"]))

    def n_trials_within(self, share: float) -> int | None:
        """Count the trials until one was truly within `share` of the best; None: none was."""
        if self.best is None:
            return None
        for number in sorted(self.values):
            value = self.values[number]
            if value is not None and abs(value / self.best.value - 1.0) <= share:
                return number + 1
        return None


def try_out(
    spec: Mapping[str, Any],
    law: Law,
    folder: Path,
    n_hosts: int,
    n_compute: int,
    on_change: Callable[[Study], None] = lambda _: None,
) -> Outcome:
    """Run a study at a server of its own, with everything but the server made up.

    Args:
        spec: As `study_file` reads it; its baseline is `{model, dataset, ...}`.
        law: The world.
        folder: For the server's database and files; removed at the end.
        n_hosts: Device hosts.
        n_compute: Compute workers.
        on_change: Told of the study as it goes on.

    Raises:
        SpecRejected: The study cannot be tried out.
        ProcessDied: The server has ended.
    """
    baseline = spec.get("baseline")
    if spec.get("runner", "server") != "server" or not isinstance(baseline, Mapping):
        message = "wanted {model, dataset}: a study that is tried out has its baseline made up"
        raise SpecRejected([Problem("baseline", message)])
    if len(spec.get("objectives", ())) > 1:
        message = "wanted one: of several the law knows no single best config"
        raise SpecRejected([Problem("objectives", message)])
    unknown = [name for name in _UNKNOWN if spec.get(name)]
    if unknown:
        message = "not simulated yet: leave it out"
        raise SpecRejected([Problem(name, message) for name in unknown])
    kind = str(spec["device"]).partition(".")[0]
    spec = {**spec, "device": kind if kind in _KINDS else _KINDS[0], "resources": {}}
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(_try_out(spec, law, folder, n_hosts, n_compute, on_change))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _try_out(
    spec: Mapping[str, Any],
    law: Law,
    folder: Path,
    n_hosts: int,
    n_compute: int,
    on_change: Callable[[Study], None],
) -> Outcome:
    begun_s = time.monotonic()
    async with simulated_workers(n_compute, law, 0.0) as scheduler:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with _server(folder, port, scheduler) as server:
            await asyncio.to_thread(_until_up, url, server)
            fleet = Fleet(n_hosts, str(spec["device"]))
            async with simulated_hosts(fleet, law, [url]) as tally:
                study, trials, used = await asyncio.to_thread(_run, url, spec, on_change)
    elapsed_s = time.monotonic() - begun_s
    true = TrueStudy(law, used["spec"], used["search"], used["shapes"])
    values = {
        trial.number: true.value(trial.config) for trial in trials if trial.state == "complete"
    }
    return Outcome(study, trials, values, true.best(), tally, elapsed_s)


def _run(
    url: str, spec: Mapping[str, Any], on_change: Callable[[Study], None]
) -> tuple[Study, Sequence[Trial], dict[str, Any]]:
    with Client(url) as client:
        baseline = choose_baseline(client, spec["baseline"])
        study = client.studies.create({**spec, "baseline": baseline.id})
        study = client.studies.wait(study.id, poll_s=_POLL_S, on_change=on_change)
        trials = client.studies.trials(study.id)
    stored = StudySpec(**{**spec, "baseline": baseline.id}).model_dump()
    from stillhouse_compression.template import parse_template  # on use: it takes a moment

    search = parse_template(stored["template"], stored["training"]).to_problem()
    shapes = parameter_shapes(baseline.model, baseline.dataset)
    return study, trials, {"spec": stored, "search": search, "shapes": shapes}


@contextmanager
def _server(folder: Path, port: int, scheduler: str) -> Iterator[Child]:
    """A server of its own, as a process that ends with this one."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("STILLHOUSE_")}
    settings = {
        "DATABASE_URL": f"sqlite:///{folder}/simulated.db",
        "ARTIFACT_DIR": str(folder / "artifacts"),
        "COMPUTE": scheduler,
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "LEASE_S": _LEASE_S,
        "RETRY_DELAY_S": "0.1",
        "MIN_FREE_BYTES": "0",
    }
    own |= {f"STILLHOUSE_{name}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "stillhouse_service.cli", "serve"]
    child = Child("server", command, folder / "server.log", environment=own)
    try:
        yield child
    finally:
        end_all([child])


def _until_up(url: str, server: Child) -> None:
    def is_up() -> bool:
        try:
            return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    wait_for("the server", is_up, [server], _START_S)
