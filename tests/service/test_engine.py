"""`engine: distiller` in a study: refused where it is not, handed to compute where that is afar."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from stillhouse_compression.original import missing_distiller
from stillhouse_service.ids import new_id

CHANCE = """\
pruners:
  p:
    class: BernoulliFilterPruner
    group_type: Filters
    desired_sparsity: !float {low: 0.1, high: 0.8}
    weights: [layer1.0.conv1.weight]
policies:
  - pruner: {instance_name: p}
    epochs: [0]
"""


def _problems(server: Any, **changes: Any) -> dict[str, str]:
    answer = server.http.post("/v1/studies", json=server.spec(**changes))
    assert answer.status_code == 422, answer.text
    return {problem["path"]: problem["message"] for problem in answer.json()["problems"]}


def test_where_the_server_computes_without_distiller_it_says_how_it_is_installed(
    serve: Callable[..., Any],
) -> None:
    if missing_distiller() is None:
        pytest.skip("Intel's Distiller is installed here")
    server = serve(compute="embedded")
    found = _problems(server, engine="distiller", baseline=new_id("bsl"))
    assert "pip install --no-deps" in found["engine"]
    assert "engine" not in _problems(server, baseline=new_id("bsl"))


def test_compute_elsewhere_is_told_the_engine_with_the_schedule(
    server: Any, connect: Callable[..., Any]
) -> None:
    assert "engine" in _problems(server, engine="oracle", baseline=new_id("bsl"))
    baseline = server.baseline()
    found = _problems(server, engine="distiller", baseline=baseline, template=CHANCE)
    assert "cannot run BernoulliFilterPruner" in found["template.pruners.p.class"]
    study = server.study(baseline=baseline, engine="distiller")
    assert server.get(f"/v1/studies/{study}")["spec"]["engine"] == "distiller"
    host = connect(server)
    host.measure(host.lease())  # the check of the baseline on the device
    engines: list[str] = []
    until = time.monotonic() + 20
    while not engines and time.monotonic() < until:
        with server.store.read() as view:
            stages = view.stages.waiting("compute", view.now, 100)
        engines = [stage.order["engine"] for stage in stages if stage.kind == "compress"]
        time.sleep(0.02)
    assert engines == ["distiller"]
