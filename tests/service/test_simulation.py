"""Simulated fleets: the law, the noise, what is printed; the protocol is the real host's."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse_benchmark.protocol import Result
from stillhouse_service.catalog import parameter_shapes
from stillhouse_service.errors import SpecRejected
from stillhouse_service.schemas import Budget, StudySpec
from stillhouse_service.simulation.law import Law, truth
from stillhouse_service.simulation.optimum import TrueStudy
from stillhouse_service.simulation.results import result
from stillhouse_service.simulation.trial_run import try_out

_SHAPES = {"a.weight": (32, 16, 3, 3), "b.weight": (64, 32, 3, 3), "a.bias": (32,)}


def _schedule(sparsity: float, group: str | None = "Filters", **more: Any) -> dict[str, Any]:
    pruner = {"class": "X", "final_sparsity": sparsity, "weights": ["a.weight"]}
    pruner |= {} if group is None else {"group_type": group}
    policies = [{"pruner": {"instance_name": "p"}}]
    return {"pruners": {"p": pruner | more}, "policies": policies}


def test_a_network_that_is_left_alone_is_its_baseline() -> None:
    found = truth(Law(), {}, {}, _SHAPES)
    assert (found.ratio, found.top1_drop, found.unsupported) == (1.0, 0.0, None)
    assert found.params == 32 * 16 * 9 + 64 * 32 * 9


def test_latency_falls_in_whole_groups_of_channels() -> None:
    law = Law(granularity=8)

    def ratio(sparsity: float) -> float:
        return truth(law, _schedule(sparsity), {}, _SHAPES).ratio

    # Of 32 filters: 7 cut leaves 25, computed as 32; 8 cut leaves 24; 15 cut leaves 17, as 24.
    assert ratio(7 / 32) == ratio(0.0) == 1.0
    assert ratio(15 / 32) == ratio(8 / 32) < 1.0
    assert ratio(16 / 32) < ratio(15 / 32)


def test_single_weights_make_nothing_faster() -> None:
    found = truth(Law(), _schedule(0.9, None), {}, _SHAPES)
    assert found.ratio == 1.0
    assert found.top1_drop > truth(Law(), _schedule(0.1, None), {}, _SHAPES).top1_drop


@given(low=st.floats(0, 0.99), high=st.floats(0, 0.99), seed=st.integers(0, 20))
def test_cutting_more_is_never_slower_and_never_more_accurate(
    low: float, high: float, seed: int
) -> None:
    low, high = sorted((low, high))
    law = Law(seed=seed)
    less, more = (truth(law, _schedule(s), {}, _SHAPES) for s in (low, high))
    assert more.ratio <= less.ratio
    assert more.top1_drop >= less.top1_drop
    assert more.params <= less.params


def test_a_layer_that_is_too_narrow_is_unsupported() -> None:
    law = Law(p_unsupported=0.3)
    assert truth(law, _schedule(0.71), {}, _SHAPES).unsupported == "a.weight"
    assert truth(law, _schedule(0.69), {}, _SHAPES).unsupported is None


def test_what_is_measured_scatters_around_the_truth() -> None:
    law = Law(noise=0.02, n_images=1000)
    made_up = {"ratio": 0.7, "top1_drop": 0.03}
    rng = random.Random(0)
    told = [result(law, made_up, rng) for _ in range(300)]
    for one in told[:20]:
        Result.from_json(json.loads(json.dumps(one)))
    ratios = [one["latency_ratio"] for one in told]
    # Standard errors: 0.02 * 0.7 / sqrt(300) = 0.0008; of the drop about 0.0004.
    assert sum(ratios) / 300 == pytest.approx(0.7, abs=0.004)
    drops = [
        one["accuracy"]["baseline"]["top1_correct"] - one["accuracy"]["candidate"]["top1_correct"]
        for one in told
    ]
    assert sum(drops) / 300_000 == pytest.approx(0.03, abs=0.002)
    inside = [one["latency_ratio_low"] <= 0.7 <= one["latency_ratio_high"] for one in told]
    assert 0.90 <= sum(inside) / 300 <= 0.99  # 95 %


def test_a_world_that_cannot_be_is_refused() -> None:
    with pytest.raises(SpecRejected) as refused:
        Law(noise=-1.0, p_crash=1.5)
    assert [one.path for one in refused.value.problems] == ["noise", "p_crash"]


def test_the_best_config_is_the_one_that_theory_gives(template: str) -> None:
    """One sparsity of 16 filters in 0.1..0.8: the best step is the deepest that keeps the limit."""
    law = Law(granularity=4)
    spec = StudySpec(
        name="one",
        baseline="bsl_1",
        device="CPU",
        template=template,
        training="epochs: 4\n",
        constraints=["top1_drop <= 0.5"],
        budget=Budget(trials=5),
    ).model_dump()
    from stillhouse_compression.template import parse_template

    shapes = parameter_shapes("resnet20_cifar", "digits")
    search = parse_template(spec["template"], spec["training"]).to_problem()
    true = TrueStudy(law, spec, search, shapes)
    best = true.best(n_random=300, n_steps=300)
    assert best is not None
    (sparsity,) = best.config.values()
    # 16 filters by fours: at most floor(0.8 * 16) = 12 are cut, and 4 are left from 0.75 on.
    assert 0.75 <= sparsity <= 0.8
    assert best.value == true.value(best.config)
    wide = true.value({**best.config, next(iter(best.config)): 0.1})
    assert wide is not None and wide > best.value
    narrow = TrueStudy(replace(law, p_unsupported=0.3), spec, search, shapes)
    assert narrow.value(best.config) is None


def test_a_study_is_tried_out_before_hours_are_spent(
    run: Any, tmp_path: Path, template: str
) -> None:
    (tmp_path / "template.yaml").write_text(template)
    (tmp_path / "study.yaml").write_text(
        "name: tried\nbaseline: {model: resnet20_cifar, dataset: digits}\ndevice: CPU\n"
        "template: template.yaml\ntraining: {epochs: 4}\n"
        "constraints: ['top1_drop <= 0.02']\nbudget: {trials: 40}\nparallel: 2\n"
    )
    file = str(tmp_path / "study.yaml")
    rates = ("--p-crash", "0.2", "--p-unsupported", "0.25", "--noise", "0.01")
    status, out, err = run("simulate", "study", file, "--trials", "6", "--json", *rates)
    assert status == 0, err
    found = json.loads(out)
    assert found["state"] == "finished"
    counts = found["counts"]  # a host may die three times with the same job: then it has failed
    assert counts["complete"] + counts["unsupported"] + counts["failed"] == 6
    assert counts["complete"] > 0
    assert found["best"]["value"] < 1.0
    truly = found["incumbent_truly"]
    assert truly is None or truly >= found["best"]["value"] - 1e-9


def test_a_study_whose_trials_are_run_outside_is_not_tried_out(run: Any, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: x\nrunner: outside\nbudget: {trials: 4}\n")
    status, _, err = run("simulate", "study", str(tmp_path / "study.yaml"))
    assert status != 0
    assert "baseline" in err


def test_a_study_that_probes_is_not_tried_out(tmp_path: Path) -> None:
    spec = {"device": "CPU", "baseline": {"model": "m", "dataset": "d"}, "probe": True}
    with pytest.raises(SpecRejected, match="probe"):
        try_out(spec, Law(), tmp_path, 1, 1)
