"""From torch to the device: a network that lost something on the way gets no number."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from stillhouse_service import survival
from stillhouse_service.cli.survival_table import print_survival


def _row(layer: str, n_nonzero: int, shape: tuple[int, ...] = (2, 3, 1, 1)) -> dict[str, Any]:
    return {
        "layer": layer,
        "shape": list(shape),
        "n_weights": 6,
        "n_nonzero": n_nonzero,
        "sparsity": 1 - n_nonzero / 6,
        "filter_sparsity": 0.5,
    }


def _stage(
    name: str, counts: dict[str, int], max_rel: float | None = None, made_by: str = "x"
) -> dict[str, Any]:
    agreed = None
    if max_rel is not None:
        agreed = {"max_abs": 2 * max_rel, "max_rel": max_rel, "top1_agreement": 1.0}
    rows = [_row(layer, n) for layer, n in counts.items()]
    return {"name": name, "made_by": made_by, "layers": rows, "agreement": agreed}


WHOLE = {"conv": 3, "fc": 6}


def _stages(**changes: Any) -> list[dict[str, Any]]:
    """Torch to device without a loss, but for the stages that are replaced."""
    there = {
        "torch": _stage("torch", WHOLE),
        "onnx": _stage("onnx", WHOLE),
        "ir_f32": _stage("ir f32", WHOLE, 1e-6),
        "ir_f16": _stage("ir f16", {"conv": 2, "fc": 6}, 1e-3),  # one weight has underflowed
        "device": _stage("device", {}, 2e-6, "openvino 1 on CPU in f32"),
    }
    return list((there | changes).values())


def test_zeros_may_become_more_and_answers_may_be_rounded() -> None:
    assert survival.first_loss(_stages(), {}) is None


@pytest.mark.parametrize(
    ("changes", "stage", "layer", "reason"),
    [
        ({"onnx": _stage("onnx", {"conv": 4, "fc": 6})}, "onnx", "conv", "4 weights that are not"),
        ({"ir_f32": _stage("ir f32", {"fc": 6}, 0.0)}, "ir f32", "conv", "conv is missing"),
        ({"ir_f32": _stage("ir f32", WHOLE, 0.01)}, "ir f32", None, "0.01 of the largest output"),
        ({"ir_f32": _stage("ir f32", WHOLE, float("nan"))}, "ir f32", None, "nan"),
        (
            {"device": _stage("device", {}, 0.01, "openvino 1 on CPU in f32")},
            "device",
            None,
            "0.01",
        ),
    ],
)
def test_the_first_stage_that_lost_something_is_named(
    changes: dict[str, Any], stage: str, layer: str | None, reason: str
) -> None:
    found = survival.first_loss(_stages(**changes), {})
    assert found is not None
    assert (found.stage, found.layer) == (stage, layer)
    assert reason in found.reason


def test_a_device_in_half_precision_may_be_off_by_more() -> None:
    off = _stage("device", {}, 0.01, "openvino2021 2021.4.2 on MYRIAD in f16")
    assert survival.first_loss(_stages(device=off), {}) is None


def test_half_precision_is_judged_only_on_the_way_to_a_device_that_computes_in_it() -> None:
    poor = _stage("ir f16", {"conv": 2, "fc": 6}, 0.5)
    assert survival.first_loss(_stages(ir_f16=poor), {}) is None
    stick = _stage("device", {}, 1e-3, "openvino2021 2021.4.2 on MYRIAD in f16")
    loss = survival.first_loss(_stages(ir_f16=poor, device=stick), {})
    assert loss is not None and loss.stage == "ir f16"


def test_another_shape_is_a_loss_but_a_grouped_convolutions_extra_dimension_is_none() -> None:
    stages = _stages()
    stages[2]["layers"][0] = _row("conv", 3, (2, 1, 3, 1, 1))
    assert survival.first_loss(stages, {}) is None
    stages[2]["layers"][0] = _row("conv", 3, (3, 2, 1, 1))
    found = survival.first_loss(stages, {})
    assert found is not None and found.layer == "conv"


def test_tolerances_are_ten_times_what_the_baseline_shows_within_bounds() -> None:
    found = survival.tolerances(
        _stages(
            ir_f32=_stage("ir f32", WHOLE, 1e-7),
            device=_stage("device", {}, 3e-5, "openvino 1 on CPU in f32"),
            ir_f16=_stage("ir f16", WHOLE, 1.0),
        )
    )
    assert found == {
        "max_output_error_ir_f32": pytest.approx(1e-4),  # the least
        "max_output_error_ir_f16": pytest.approx(3e-2),  # the most
        "max_output_error_device": pytest.approx(3e-4),
    }
    late = _stages(device=_stage("device", {}, 4e-4, "openvino 1 on CPU in f32"))
    assert survival.first_loss(late, {}) is None
    loss = survival.first_loss(late, found)
    assert loss is not None and loss.stage == "device"


def test_the_table_shows_what_torch_has_and_where_it_changes() -> None:
    out = io.StringIO()
    print_survival(_stages(), Console(file=out, width=120))
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["conv", "2x3x1x1", "3", "50.0%", "50.0%", "=", "=", "2"] in lines
    assert ["fc", "2x3x1x1", "6", "0.0%", "50.0%", "=", "=", "="] in lines
    assert any(line[:2] == ["ir", "f16"] and "1.00e-03" in line for line in lines)


@pytest.fixture
def running(server: Any, connect: Any, result: Any) -> tuple[Any, Any, str]:
    """A study whose baseline showed its device to be off by 2e-5."""
    study = server.study()
    host = connect(server)
    measured = result() | {"survival": [_stage("device", {}, 2e-5, "openvino 1 on CPU in f32")]}
    assert host.tell(host.lease(), "result", result=measured).status_code == 204
    return server, host, study


def _trial_job(server: Any, host: Any, study: str) -> Any:
    import time

    deadline = time.monotonic() + 20
    while not server.compute_all():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return host.lease()


def test_a_baseline_that_is_another_in_the_runtimes_own_form_rejects_the_study(
    server: Any, connect: Any, result: Any
) -> None:
    study = server.study()
    host = connect(server)
    lossy = result() | {"survival": [_stage("ir f32", WHOLE, 0.2)]}
    assert host.tell(host.lease(), "result", result=lossy).status_code == 204
    found = server.get(f"/v1/studies/{study}")
    assert found["state"] == "rejected"
    assert "stage ir f32: outputs differ" in found["reason"]


def test_the_baselines_own_error_is_what_a_trial_is_held_to(
    running: tuple[Any, Any, str],
) -> None:
    server, host, study = running
    found = server.get(f"/v1/studies/{study}")["baseline_measurement"]
    assert found["max_output_error_device"] == pytest.approx(2e-4)
    settings = _trial_job(server, host, study)["job"]["settings"]
    assert settings["max_output_error"] == pytest.approx(2e-4)


def test_a_network_that_is_another_on_the_device_fails_its_trial_without_a_number(
    running: tuple[Any, Any, str], result: Any
) -> None:
    server, host, study = running
    lease = _trial_job(server, host, study)
    lossy = [_stage("ir f32", WHOLE, 1e-6), _stage("ir f16", {"conv": 4, "fc": 6}, 1e-3)]
    assert host.tell(lease, "result", result=result() | {"survival": lossy}).status_code == 204
    trial = server.get(f"/v1/studies/{study}/trials")["items"][0]
    assert trial["state"] == "failed"
    assert trial["failure"]["class"] == "mismatch"
    assert trial["failure"]["reason"].startswith("stage ir f16: conv has 4 weights")
    assert "latency_ratio" not in trial["metrics"]
    detail = server.get(f"/v1/trials/{trial['id']}")
    assert detail["measurements"] == []
    assert [stage["name"] for stage in detail["survival"]] == ["ir f32", "ir f16"]
