"""What compute reports, taken: whatever is wrong with one report keeps out no other."""

from typing import Any

import pytest

from stillhouse_service import attempts, outcomes
from stillhouse_service.compute import End
from stillhouse_service.compute_desk import ComputeDesk


def test_a_report_that_cannot_be_taken_is_an_attempt_lost_and_holds_up_no_other(
    server: Any,
) -> None:
    wanted = {"model": "resnet20_cifar", "dataset": "digits"}
    made = [
        server.http.post("/v1/baselines", json=wanted | {"seed": seed}).json()["id"]
        for seed in range(2)
    ]
    begun = {}
    with server.store.begin() as work:
        for stage in work.stages.waiting("compute", work.now, 10):
            attempt = attempts.start(work, stage, "a test", lease_s=None)
            begun[stage.baseline_id] = attempt.id
    desk = ComputeDesk(server.store, server.artifacts, server.settings, on_news=lambda: None)
    desk._on_end(End(begun[made[0]], "returned", {"not": "what a training answers"}))
    desk._on_end(End(begun[made[1]], "returned", server._trained({"seed": 1})))
    desk.take_reports()
    states = [server.get(f"/v1/baselines/{one}")["state"] for one in made]
    assert states == ["queued", "complete"]  # the first is tried again
    with server.store.read() as view:
        lost = view.stages.attempt(begun[made[0]])
        reasons = [event.reason for event in view.log.events(100, 0) if event.subject == lost.id]
    assert lost.state == "lost"
    assert "its report could not be taken: KeyError" in str(reasons[-1])


def test_a_report_that_a_full_disk_keeps_out_comes_again_and_nothing_is_lost(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"model": "resnet20_cifar", "dataset": "digits"}
    made = server.http.post("/v1/baselines", json=wanted).json()["id"]
    with server.store.begin() as work:
        (stage,) = work.stages.waiting("compute", work.now, 10)
        attempt_id = attempts.start(work, stage, "a test", lease_s=None).id
    desk = ComputeDesk(server.store, server.artifacts, server.settings, on_news=lambda: None)
    desk._on_end(End(attempt_id, "returned", server._trained({"seed": 0})))

    def is_full(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "trained", is_full)
        with pytest.raises(OSError, match="no space left"):
            desk.take_reports()
    assert server.get(f"/v1/baselines/{made}")["state"] == "training"
    desk.take_reports()
    assert server.get(f"/v1/baselines/{made}")["state"] == "complete"
