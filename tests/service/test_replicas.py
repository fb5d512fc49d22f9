"""Two real servers of one real Postgres: one is frozen or killed; nothing is lost or doubled."""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicas import Replica, Replicas
from sqlalchemy import select
from sqlalchemy.orm import Session

from stillhouse_service import attempts
from stillhouse_service.database import open_engine
from stillhouse_service.simulation.fleet import Fleet, simulated_hosts
from stillhouse_service.simulation.law import Law
from stillhouse_service.simulation.workers import simulated_workers
from stillhouse_service.store import Store
from stillhouse_service.tables import (
    AttemptRow,
    DriverRow,
    EventRow,
    MeasurementRow,
    StageRow,
    TrialRow,
)

pytestmark = pytest.mark.parametrize("database", ["postgres"], indirect=True)
Start = Callable[..., Replica]
_OURS = {"model": "resnet20_cifar", "dataset": "digits"}


@pytest.fixture(scope="module")
def forker() -> Iterator[Replicas]:
    replicas = Replicas()
    yield replicas
    replicas.stop()


@pytest.fixture
def start(forker: Replicas, serve: Any, database: str, tmp_path: Path) -> Iterator[Start]:
    """Start one more server of the same database; asking for `serve` makes its schema a copy."""

    def begin(**settings: str) -> Replica:
        chosen = {
            "DATABASE_URL": database,
            "ARTIFACT_DIR": str(tmp_path / "artifacts"),
            "COMPUTE": "none",
            "N_THREADS": "1",
            "RETRY_DELAY_S": "0",
            "MAX_ATTEMPTS": "20",
            "DRIVER_LEASE_S": "30",  # however busy the machine is, who lives leads
            "LOCK_DIR": str(tmp_path / "lock"),
        }
        own = {f"STILLHOUSE_{name}": value for name, value in (chosen | settings).items()}
        return forker.start(own)

    yield begin
    forker.end_all()


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    engine = open_engine(database)
    yield Store(engine)
    engine.dispose()


def _until(is_so: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


def _spec(template: str, baseline: str, n_trials: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "replicated",
        "baseline": baseline,
        "device": "CPU",
        "template": template,
        "training": "epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true}\n",
        "constraints": ["top1_drop <= 0.02"],
        "budget": {"trials": n_trials},
        "parallel": 4,
        "optimizer": {"n_initial": n_trials},
        **more,
    }


def _trained(http: httpx.Client) -> str:
    baseline = http.post("/v1/baselines", json=_OURS).raise_for_status().json()["id"]
    path = f"/v1/baselines/{baseline}"
    _until(lambda: http.get(path).json()["state"] == "complete", "the baseline")
    return str(baseline)


def _check(store: Store, study_id: str, n_trials: int) -> None:
    """Every trial was run once, measured once, and the log has no gap."""
    with Session(store._writing.kw["bind"]) as session:
        trials = list(
            session.scalars(
                select(TrialRow).where(TrialRow.study_id == study_id).order_by(TrialRow.number)
            )
        )
        assert [trial.number for trial in trials] == list(range(n_trials))
        assert {trial.state.value for trial in trials} == {"complete"}
        stages = list(session.scalars(select(StageRow).where(StageRow.study_id == study_id)))
        assert {stage.state.value for stage in stages} == {"done"}
        kinds = Counter((stage.trial_id, stage.kind) for stage in stages)
        for trial in trials:
            assert (kinds[trial.id, "compress"], kinds[trial.id, "benchmark"]) == (1, 1)
        won = Counter(
            session.scalars(
                select(AttemptRow.stage_id)
                .join(StageRow)
                .where(StageRow.study_id == study_id, AttemptRow.state == "succeeded")
            )
        )
        assert won == Counter(stage.id for stage in stages)
        measured = Counter(
            session.scalars(
                select(MeasurementRow.stage_id).where(MeasurementRow.study_id == study_id)
            )
        )
        assert measured == Counter(one.id for one in stages if one.lane == "device")
        last: dict[str, str | None] = {}
        for line in session.scalars(
            select(EventRow).where(EventRow.kind != "incumbent").order_by(EventRow.id)
        ):
            assert line.before == last.get(line.subject), "the log has a gap"
            last[line.subject] = line.after
        assert all(last[trial.id] == trial.state for trial in trials)
        assert all(last[stage.id] == stage.state for stage in stages)


async def _killed_in_the_middle(
    start: Start, template: str, n_trials: int, law: Law, n_compute: int
) -> tuple[str, int, float]:
    """Run a study through two servers, kill the one that drives; give how long nobody drove."""
    async with simulated_workers(n_compute, law, 0.0) as scheduler:
        begin = partial(start, COMPUTE=scheduler, LEASE_S="5")
        both = [await asyncio.to_thread(begin) for _ in range(2)]
        async with simulated_hosts(Fleet(4), law, [one.url for one in both]) as tally:

            def run() -> tuple[str, float]:
                (first,) = [one for one in both if one.drives]
                (second,) = [one for one in both if one is not first]
                # Everything goes through the server that does not drive.
                spec = _spec(template, _trained(second.http), n_trials)
                study = second.http.post("/v1/studies", json=spec).raise_for_status().json()["id"]
                path = f"/v1/studies/{study}"

                def n_complete() -> int:
                    return int(second.http.get(path).json()["counts"]["complete"])

                _until(lambda: n_complete() >= n_trials // 2, "half of the trials", 600)
                first.send(signal.SIGKILL)
                killed_s = time.monotonic()
                _until(lambda: second.drives, "the other one to drive", 30)
                gap_s = time.monotonic() - killed_s
                over = ("finished", "failed", "rejected", "cancelled")
                _until(lambda: second.http.get(path).json()["state"] in over, "the end", 1200)
                found = second.http.get(path).json()
                assert found["state"] == "finished", found["reason"]
                return study, gap_s

            study, gap_s = await asyncio.to_thread(run)
            return study, tally.n_twice, gap_s


def test_a_study_outlives_the_server_that_drives_it(
    start: Start, store: Store, template: str
) -> None:
    killed = _killed_in_the_middle(start, template, 20, Law(), 2)
    study, n_twice, gap_s = asyncio.run(killed)
    assert n_twice == 0
    assert gap_s < 30
    _check(store, study, 20)


@pytest.mark.slow  # minutes: a thousand trials
@pytest.mark.timeout(3600)
def test_a_study_of_a_thousand_trials_outlives_the_server_that_drives_it(
    start: Start, store: Store, template: str
) -> None:
    law = Law(p_crash=0.02, p_hang=0.01)
    killed = _killed_in_the_middle(start, template, 1000, law, 8)
    study, _, gap_s = asyncio.run(killed)
    assert gap_s < 30
    _check(store, study, 1000)


def test_a_server_that_starts_leaves_alone_what_the_living_one_computes(
    start: Start, store: Store
) -> None:
    first = start()
    first.http.post("/v1/baselines", json=_OURS).raise_for_status()
    with store.begin() as work:
        (stage,) = work.stages.waiting("compute", work.now, 10)
        attempt = attempts.start(work, stage, "compute of the first", None)
    second = start()

    def state() -> str:
        with store.read() as view:
            return str(view.stages.attempt(attempt.id).state)

    assert (first.drives, second.drives) == (True, False)
    with store.read() as view:
        begun = view.now
    # Whatever the second one does as it starts, it has done: it answers what it has read anew.
    _until(lambda: second.http.get("/v1/studies").status_code == 200, "an answer")
    time.sleep(1.5)  # three looks at who drives
    assert state() == "running"
    first.send(signal.SIGKILL)
    _until(lambda: state() == "released", "the stage to be taken back")
    assert second.drives
    with store.read() as view:
        assert view.now > begun


def test_a_frozen_server_is_replaced_and_awake_again_it_drives_no_more(
    start: Start, store: Store
) -> None:
    frozen, other = (start(DRIVER_LEASE_S="4") for _ in range(2))
    assert (frozen.drives, other.drives) == (True, False)
    frozen.send(signal.SIGSTOP)
    _until(lambda: other.drives, "the other one to drive", 40)
    baseline = other.http.post("/v1/baselines", json=_OURS).raise_for_status().json()["id"]
    frozen.send(signal.SIGCONT)
    # It has slept through the change; it answers, and knows that it does not drive.
    _until(lambda: frozen.http.get(f"/v1/baselines/{baseline}").status_code == 200, "an answer")
    _until(lambda: not frozen.drives, "the frozen one to notice")
    assert other.drives
    with Session(store._writing.kw["bind"]) as session:
        assert session.scalars(select(DriverRow.epoch)).one() == 2


def test_who_waits_at_one_server_hears_what_another_one_does(start: Start, store: Store) -> None:
    first, second = start(), start()
    baseline = first.http.post("/v1/baselines", json=_OURS).raise_for_status().json()["id"]
    path = f"/v1/baselines/{baseline}"
    seen = second.http.get(path)
    heard: list[httpx.Response] = []

    def wait() -> None:
        known = {"If-None-Match": seen.headers["etag"]}
        heard.append(second.http.get(path, params={"wait": 50}, headers=known))

    waiting = threading.Thread(target=wait)
    begun_s = time.monotonic()
    waiting.start()
    with store.begin() as work:  # a third party: neither of them has written it
        (stage,) = work.stages.waiting("compute", work.now, 10)
        attempt = attempts.start(work, stage, "compute", None)
    waiting.join(timeout=60)
    assert heard[0].status_code == 200
    assert heard[0].json()["state"] == "training"
    assert time.monotonic() - begun_s < 40  # not for its end
    assert attempt.number == 1
