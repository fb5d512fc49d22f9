"""A study whose server is killed at random moments proposes what an uninterrupted one does.

The optimizer, HTTP, the database and the kills are real; trials are answered from a table, so that
the same config always measures the same.
"""

import json
import threading
import time
from random import Random
from typing import Any

import httpx
import pytest


def _table(server: Any, lease: dict[str, Any]) -> tuple[float, int]:
    """What a config measures: more sparsity is faster and, above 0.5, loses images."""
    content = server.artifacts.read(lease["job"]["candidate"]["sha256"]).decode()
    if "{" not in content:
        return 1.0, 294  # the baseline itself
    order = json.loads(content[content.index("{") :])
    sparsity = order["schedule"]["pruners"]["filters"]["final_sparsity"]
    lost = 100 * max(0.0, sparsity - 0.5) + 40 * abs(order["training"]["lr"] - 0.02)
    return 1.0 - 0.5 * sparsity, 294 - round(lost)


def _drive(server: Any, host: Any, study: str) -> None:
    """Play compute and device until the study ends, as patient as a real host."""
    held: tuple[dict[str, Any], tuple[float, int]] | None = None
    deadline = time.monotonic() + 1500
    while time.monotonic() < deadline:
        try:
            if held is not None:
                # Said again until the server has answered: a killed one may have heard it or not.
                assert host.measure(held[0], *held[1]).status_code in (204, 409)
                held = None
            if server.http.get(f"/v1/studies/{study}").json()["state"] == "finished":
                return
            server.compute_all()
            answer = host.ask(0.05)
        except httpx.TransportError:
            time.sleep(0.02)
            continue
        if answer.status_code == 200:
            held = (answer.json(), _table(server, answer.json()))
    raise AssertionError(server.http.get(f"/v1/studies/{study}").json())


def _kill_now_and_then(server: Any, study: str, moments: list[tuple[int, float]]) -> None:
    """Kill the server some time after the study has reached some number of trials."""
    for n_trials, delay_s in moments:
        while True:
            with server.store.read() as view:
                if view.trials.n_of(study) >= n_trials:
                    break
            time.sleep(0.02)
        time.sleep(delay_s)
        server.kill()
        server.start()


@pytest.mark.parametrize(
    ("n_kills", "n_trials", "is_probing"),
    [
        (3, 7, True),
        # 20 starts of a server take a minute or more
        pytest.param(20, 40, False, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_killed_study_proposes_what_an_uninterrupted_one_does(
    killable: Any, connect: Any, n_kills: int, n_trials: int, is_probing: bool
) -> None:
    asked = {"budget": {"trials": n_trials}, "seed": 7, "optimizer": {"n_initial": 4}}
    asked |= {"probe": is_probing}
    baseline = killable.baseline()
    host = connect(killable)
    whole = killable.study(baseline=baseline, **asked)
    _drive(killable, host, whole)
    broken = killable.study(baseline=baseline, **asked)
    rng = Random(n_kills)
    moments = [(rng.randrange(n_trials), rng.uniform(0.0, 0.3)) for _ in range(n_kills)]
    killer = threading.Thread(target=_kill_now_and_then, args=(killable, broken, sorted(moments)))
    killer.start()
    _drive(killable, host, broken)
    killer.join()
    first, second = (
        [
            (t["number"], t["config"], t["seed"], t["origin"], t["prediction"], t["state"])
            for t in killable.get(f"/v1/studies/{study}/trials?page_size=1000")["items"]
        ]
        for study in (whole, broken)
    )
    assert first == second
    assert [number for number, *_ in first] == list(range(n_trials))
    assert "model" in {origin for _, _, _, origin, *_ in first}
    # With probes some trials end without a training, the same ones.
    assert ("stopped" in {state for *_, state in first}) == is_probing
    ended = [killable.get(f"/v1/studies/{study}") for study in (whole, broken)]
    assert ended[0]["incumbent"]["number"] == ended[1]["incumbent"]["number"]
