"""What a trial's compression said: `stillhouse trial log`, and the log of `trial show`."""

import time
from typing import Any

import pytest

from stillhouse_service import attempts, outcomes
from stillhouse_service.failures import Failure

LINES = ["training, epoch 1 of 2: loss 0.5", "warning: layer1 keeps one filter"]


@pytest.fixture
def trial(server: Any, connect: Any) -> str:
    """A trial that waits for compute."""
    study = server.study()
    host = connect(server)
    host.measure(host.lease())
    trials = f"/v1/studies/{study}/trials"
    deadline = time.monotonic() + 60
    while not (found := server.get(trials)["items"]):
        assert time.monotonic() < deadline, "no trial was started"
        time.sleep(0.05)
    return str(found[0]["id"])


def _stage(server: Any, trial: str) -> Any:
    with server.store.read() as view:
        (stage,) = [s for s in view.stages.waiting("compute", view.now, 10) if s.trial_id == trial]
        return stage


def _begin(server: Any, trial: str) -> str:
    with server.store.begin() as work:
        stage = work.stages.stage(_stage(server, trial).id)
        return str(attempts.start(work, stage, "scripted compute", None).id)


def test_a_trial_that_runs_shows_the_last_lines_it_said(server: Any, trial: str, at: Any) -> None:
    assert at("trial", "log", trial) == (0, "", "")  # it has said nothing yet
    _begin(server, trial)
    with server.store.begin() as work:
        work.trials.named(trial).progress = {"stage": "compressing", "log": LINES}
    assert at("trial", "log", trial) == (0, "\n".join(LINES) + "\n", "")
    status, out, _ = at("trial", "show", trial)
    assert status == 0
    assert [line.strip() for line in out.splitlines() if line.strip() in LINES] == LINES


def test_a_failed_trial_keeps_the_lines_before_its_end(server: Any, trial: str, at: Any) -> None:
    attempt_id = _begin(server, trial)
    failure = Failure("compress", "diverged", "the loss is NaN in epoch 2", log=LINES)
    with server.store.begin() as work:
        attempts.fail(work, work.stages.attempt(attempt_id), failure, server.settings)
    assert server.get(f"/v1/trials/{trial}")["log"] == LINES
    assert at("trial", "log", trial) == (0, "\n".join(LINES) + "\n", "")
    _, out, _ = at("trial", "show", trial)
    assert out.index("the loss is NaN in epoch 2") < out.index(LINES[0]) < out.index(LINES[1])


def test_a_compressed_trial_gives_all_it_said(server: Any, trial: str, at: Any) -> None:
    attempt_id = _begin(server, trial)
    order = _order(server, attempt_id)
    made = server._compressed(order)
    whole = "".join(f"line {i} of the log: 5 % ±\n" for i in range(500))
    stored = server.artifacts.put(whole.encode(), "text/plain")
    made["artifacts"]["log"] = vars(stored)
    with server.store.begin() as work:
        stage = attempts.succeed(work, work.stages.attempt(attempt_id))
        outcomes.compressed(work, stage, made)
    assert at("trial", "log", trial) == (0, whole, "")
    assert server.http.get(f"/v1/artifacts/{stored.sha256}").text == whole


def _order(server: Any, attempt_id: str) -> dict[str, Any]:
    with server.store.read() as view:
        order: dict[str, Any] = view.stages.stage(view.stages.attempt(attempt_id).stage_id).order
        return order


def test_the_log_of_an_unknown_trial_is_an_error(at: Any, server: Any) -> None:
    status, out, said = at("trial", "log", "trl_0123456789abcdef")
    assert (status, out) == (2, "")
    assert "no trial trl_0123456789abcdef" in said
