"""Successive halving over HTTP: rungs live with the trials, and only the top one has a winner."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stillhouse_service import attempts, outcomes
from stillhouse_service.failures import Failure

RUNGS = {"recovery_epochs": [1, 3, 9]}
TRAINING = """\
epochs: 4
lr_schedule: constant
lr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}
"""


@pytest.fixture
def host(server: Any, connect: Any) -> Any:
    return connect(server)


class Player:
    """Plays compute and device: more sparsity is faster, more epochs lose less."""

    def __init__(self, server: Any, host: Any) -> None:
        self.server, self.host = server, host
        self.orders: list[dict[str, Any]] = []
        self.data: list[str] = []  # what each device job was judged on
        self.fails_at: set[int] = set()  # trainings of so many epochs fail

    def compute(self) -> None:
        """Do every training that waits; a low rung leaves a checkpoint."""
        with self.server.store.read() as view:
            waiting = [row.id for row in view.stages.waiting("compute", view.now, 100)]
        for stage_id in waiting:
            with self.server.store.begin() as work:
                stage = work.stages.stage(stage_id)
                attempt = attempts.start(work, stage, "scripted compute", None)
                if stage.order["training"]["recovery_epochs"] in self.fails_at:
                    failure = Failure("compress", "diverged", "the loss is not a number")
                    attempts.fail(work, attempt, failure, self.server.settings)
                    continue
                attempts.succeed(work, attempt)
                self.orders.append(stage.order)
                made = self.server._compressed(stage.order)
                if part := stage.order.get("judged_on"):
                    made["artifacts"]["data_validation"] = self.server._file(f"images {part}")
                if stage.order["keeps_checkpoint"]:
                    text = f"checkpoint of {stage.id}"
                    made["artifacts"]["checkpoint"] = self.server._file(text)
                outcomes.compressed(work, stage, made)

    def measure(self) -> bool:
        answer = self.host.ask(0.05)
        if answer.status_code != 200:
            return False
        lease = answer.json()
        self.data.append(lease["job"]["data"]["sha256"])
        content = self.server.artifacts.read(lease["job"]["candidate"]["sha256"]).decode()
        ratio, lost = 1.0, 0
        if "{" in content:
            order = json.loads(content[content.index("{") :])
            sparsity = order["schedule"]["pruners"]["filters"]["final_sparsity"]
            ratio = 1.0 - 0.5 * sparsity
            lost = round(6 / order["training"]["recovery_epochs"])
        self.host.measure(lease, ratio=ratio, n_correct=294 - lost)
        return True

    def play(self, study: str) -> dict[str, Any]:
        while True:
            shown: dict[str, Any] = self.server.get(f"/v1/studies/{study}")
            if shown["state"] not in ("checking", "running"):
                return shown
            self.compute()
            self.measure()


def _on(*images: int) -> dict[str, Any]:
    return RUNGS | {"validation_images": list(images)}


def _study(server: Any, **changes: Any) -> str:
    asked = {"training": TRAINING, "fidelity": RUNGS, "constraints": ["top1_drop <= 0.05"]}
    study: str = server.study(**(asked | {"budget": {"trials": 9}} | changes))
    return study


def _trials(server: Any, study: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = server.get(f"/v1/studies/{study}/trials?page_size=100")["items"]
    return items


def test_the_best_of_a_rung_go_on_and_the_top_one_has_the_winner(server: Any, host: Any) -> None:
    study = _study(server)
    player = Player(server, host)
    shown = player.play(study)
    assert shown["state"] == "finished", shown["reason"]
    trials = _trials(server, study)
    rungs = [[t for t in trials if t["rung"] == rung] for rung in range(3)]
    # Nine configs as the budget says; the best third of those there were at each moment goes on.
    assert len(rungs[0]) == 9
    assert 3 <= len(rungs[1]) <= 6
    assert 1 <= len(rungs[2]) <= 2
    assert {t["state"] for t in (*rungs[0], *rungs[1])} == {"stopped"}
    assert {t["state"] for t in rungs[2]} == {"complete"}
    assert shown["incumbent"]["trial_id"] in {t["id"] for t in rungs[2]}
    by_id = {t["id"]: t for t in trials}
    for low, high in ((0, 1), (1, 2)):
        for trial in rungs[high]:
            below = by_id[trial["promoted_from"]]
            assert below["rung"] == low and below["config"] == trial["config"]
            assert below["seed"] == trial["seed"]
    # All keep the limit, so the fastest of all has gone on: to the top, in the end.
    best = min(t["metrics"]["latency_ratio"] for t in rungs[0])
    assert min(t["metrics"]["latency_ratio"] for t in rungs[1]) == best
    assert all(t["is_feasible"] is None for t in rungs[0])
    epochs = [order["training"]["recovery_epochs"] for order in player.orders]
    assert sorted(epochs) == [1] * 9 + [3] * len(rungs[1]) + [9] * len(rungs[2])
    for order in player.orders:
        assert ("checkpoint" in order) == (order["training"]["recovery_epochs"] > 1)
    assert shown["saved"]["n_ended_early"] == 0
    detail = server.get(f"/v1/trials/{rungs[2][0]['id']}")
    reasons = [one["reason"] or "" for one in detail["events"]]
    assert any("goes on where trial" in reason for reason in reasons)


def test_a_rate_that_looks_at_the_end_is_trained_anew(server: Any, host: Any) -> None:
    training = TRAINING.replace("constant", "cosine")
    study = _study(server, training=training, budget={"trials": 3})
    player = Player(server, host)
    player.play(study)
    assert all("checkpoint" not in order for order in player.orders)
    (promoted,) = [t for t in _trials(server, study) if t["rung"] == 1]
    events = server.get(f"/v1/trials/{promoted['id']}")["events"]
    assert any("trained anew" in (one["reason"] or "") for one in events)


def test_a_rung_whose_trials_all_failed_is_told(server: Any, host: Any) -> None:
    study = _study(server, budget={"trials": 3})
    player = Player(server, host)
    player.fails_at = {1}
    shown = player.play(study)
    assert shown["state"] == "finished"
    assert "all 3 trials of rung 0 failed, so none went on" in shown["reason"]
    assert shown["incumbent"] is None


def test_a_higher_rung_whose_trials_all_failed_is_told(server: Any, host: Any) -> None:
    study = _study(server, budget={"trials": 3})
    player = Player(server, host)
    player.fails_at = {9}
    shown = player.play(study)
    assert shown["state"] == "finished"
    # Each failed one leaves its place, so that all three have tried.
    assert "all 3 trials of rung 2 failed, so none came through" in shown["reason"]
    assert "rung 0" not in shown["reason"]


def test_low_rungs_are_judged_on_their_own_images(server: Any, host: Any) -> None:
    study = _study(server, fidelity=_on(50, 100), seed=7, budget={"trials": 9})
    player = Player(server, host)
    assert player.play(study)["state"] == "finished"
    judged = [
        (order["training"]["recovery_epochs"], order.get("judged_on")) for order in player.orders
    ]
    low, middle = {"n_images": 50, "seed": 7}, {"n_images": 100, "seed": 7}
    for epochs, on in judged:  # the same images for all trials of a rung, the highest on all
        assert on == {1: low, 3: middle, 9: None}[epochs]
    trials = _trials(server, study)
    whole = player.data[0]  # the check of the baseline
    sets = {t["rung"]: t["artifacts"].get("data_validation", whole) for t in trials}
    assert len(set(sets.values())) == 3
    assert set(player.data) == {whole, *sets.values(), player.data[-1]}  # and the test split
    assert player.data.count(sets[0]) == 9
    stopped = next(t for t in trials if t["rung"] == 0)
    assert "judged on 50 of the validation images" in stopped["progress"]["reason"]
    report = server.http.get(f"/v1/studies/{study}/report", params={"format": "md"}).text
    assert "Rungs: 9 configs were trained for 1 recovery epoch, judged on 50" in report


def test_a_rung_may_only_judge_on_more_images(server: Any, host: Any) -> None:
    training = TRAINING.replace("constant", "cosine")
    rule = {"recovery_epochs": [2, 2], "validation_images": [60]}
    study = _study(server, training=training, fidelity=rule, budget={"trials": 3})
    player = Player(server, host)
    assert player.play(study)["state"] == "finished"
    # It trains no further, so the learning rate that looks at the end has come to its end.
    assert ["checkpoint" in order for order in player.orders] == [False, False, False, True]
    assert [order.get("judged_on") is None for order in player.orders] == [False] * 3 + [True]


def test_another_server_goes_on_where_the_rungs_stood(serve: Any, connect: Any) -> None:
    server = serve()
    study = _study(server)
    player = Player(server, connect(server))
    while not any(t["rung"] == 1 for t in _trials(server, study)):
        player.compute()
        player.measure()
    n_before = len(_trials(server, study))
    server.stop()
    again = serve()
    player.server, player.host = again, connect(again)
    assert player.play(study)["state"] == "finished"
    trials = _trials(again, study)
    assert n_before < len(trials)
    assert [t["number"] for t in trials] == list(range(len(trials)))
    assert sum(t["rung"] == 0 for t in trials) == 9
    assert any(t["rung"] == 2 and t["state"] == "complete" for t in trials)
    below = [t["promoted_from"] for t in trials if t["promoted_from"]]
    assert len(set(below)) == len(below)  # none went on twice


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"fidelity": {"recovery_epochs": [3]}}, "fidelity.recovery_epochs"),
        ({"fidelity": {"recovery_epochs": [3, 1]}}, "fidelity.recovery_epochs"),
        ({"fidelity": {"recovery_epochs": [0, 1]}}, "fidelity.recovery_epochs"),
        ({"fidelity": RUNGS | {"reduction": 1}}, "fidelity.reduction"),
        ({"fidelity": {"recovery_epochs": [3, 3]}}, "fidelity.validation_images"),
        ({"fidelity": _on(100)}, "fidelity.validation_images"),
        ({"fidelity": _on(100, 200, 300)}, "fidelity.validation_images"),
        ({"fidelity": _on(200, 100)}, "fidelity.validation_images"),
        ({"fidelity": _on(9, 100)}, "fidelity.validation_images[0]"),
        ({"fidelity": _on(100, 300)}, "fidelity.validation_images[1]"),
        ({"training": TRAINING + "recovery_epochs: 2\n"}, "fidelity"),
        ({"early_stop": "bold"}, "early_stop"),
    ],
)
def test_rungs_that_make_no_sense_are_refused(server: Any, changes: Any, path: str) -> None:
    asked = {"training": TRAINING, "fidelity": RUNGS, "constraints": ["top1_drop <= 0.05"]}
    spec = server.spec(**(asked | changes))
    answer = server.http.post("/v1/studies", json=spec)
    assert answer.status_code == 422
    assert path in [one["path"] for one in answer.json()["problems"]]
