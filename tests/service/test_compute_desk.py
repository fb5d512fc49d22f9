"""What compute reports, taken: whatever is wrong with one report keeps out no other."""

from typing import Any

from stillhouse_service import attempts
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
