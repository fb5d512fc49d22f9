"""Studies with trials as real ones end, written in one transaction through the server's own code.

What is made up is what compute and device would have said; the configs are drawn at random, since
thirty proposals would take longer than everything that is looked at here.
"""

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

from stillhouse_compression.template import parse_template
from stillhouse_service import attempts, lives, outcomes
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.failures import Failure
from stillhouse_service.ids import new_id
from stillhouse_service.schemas import StudySpec
from stillhouse_service.settings import Settings
from stillhouse_service.states import StudyState, TrialState
from stillhouse_service.store import Store, UnitOfWork
from stillhouse_service.tables import StudyRow, TrialRow

ROOT = Path(__file__).parents[2]
TRAINING = """\
epochs: !int {low: 2, high: 3, default: 2}
recovery_epochs: 1
lr: !float {low: 0.002, high: 0.1, log: true, default: 0.02}
"""
LAYERS = ["conv1", *(f"layer{i}.{j}.conv{k}" for i in (1, 2, 3) for j in (0, 1) for k in (1, 2))]
_DIVERGED = Failure(
    "compress",
    "diverged",
    "training diverged: the loss is not a number in epoch 2",
    log=("epoch 1 of 4: loss 2.31", "epoch 2 of 4: loss nan"),
)
_UNSUPPORTED = Failure("compile", "unsupported", "layer2.0.conv1: no such kernel on this device")
_PAUSED = "paused by its user"


class MadeUp:
    """Writes studies into a store.

    Args:
        store: The store.
        artifacts: Where their files go.
        settings: The server's.
        baseline: A complete baseline of resnet20_cifar.
    """

    def __init__(
        self, store: Store, artifacts: ArtifactStore, settings: Settings, baseline: str
    ) -> None:
        self._store, self._artifacts, self._settings = store, artifacts, settings
        self._baseline = baseline
        self._search: dict[str, Any] | None = None  # all have the same space

    def study(
        self,
        name: str,
        n_trials: int,
        extra_drop: float = 0.0,
        is_failing: bool = False,
        after: StudyState = StudyState.PAUSED,
        reason: str | None = _PAUSED,
    ) -> str:
        """Write a study that has ended or rests, and its trials; gives its id."""
        spec = StudySpec.model_validate(
            {
                "name": name,
                "baseline": self._baseline,
                "device": "CPU",
                "template": (ROOT / "examples" / "digits" / "template.yaml").read_text(),
                "training": TRAINING,
                "constraints": ["top1_drop <= 0.02"],
                "budget": {"trials": max(40, n_trials), "wall_s": 7200},
            }
        )
        if self._search is None:
            self._search = lives.check_spec(self._store, spec, computes_here=False)
        template = parse_template(spec.template, spec.training)
        chance = random.Random(4)
        with self._store.begin("anna") as work:
            now = work.now
            study = lives.begin_study(work, spec, self._search)
            for stage in work.stages.open_of_study(study.id):
                attempts.cancel(work, stage, "anna", "the study is made up")
            if after != StudyState.REJECTED:
                study.baseline_measurement = {"p50_ms": 2.0, "validation_top1": 0.98}
                study.started_at = now
                work.move(study, StudyState.RUNNING, "driver")
            for number in range(n_trials):
                config = template.sample_config(random.Random(100 + number))
                work.now = now - timedelta(minutes=5 * (n_trials - number))
                trial = _new_trial(work, study, number, dict(config))
                if is_failing or number % 11 == 5:
                    self._end(work, trial, None, _DIVERGED)
                elif number % 13 == 7:
                    self._end(work, trial, None, _UNSUPPORTED)
                else:
                    self._end(work, trial, _result(dict(config), extra_drop, chance), None)
            work.now = now
            study.reason = reason
            work.move(study, after, "driver", reason)
            return study.id

    def _end(
        self,
        work: UnitOfWork,
        trial: TrialRow,
        result: dict[str, Any] | None,
        failure: Failure | None,
    ) -> None:
        """Have a trial compressed and measured, or fail where its failure belongs."""
        stage = outcomes.new_stage(work, "compress", order={}, trial=trial)
        attempt = attempts.start(work, stage, "compute", None)
        work.now += timedelta(minutes=3)
        if failure is _DIVERGED:
            attempts.fail(work, attempt, failure, self._settings)
            return
        attempts.succeed(work, attempt)
        text = f"# trial {trial.number}\nversion: 1\npruners: {{}}\npolicies: []\n"
        files = {"schedule": text, "onnx": f"onnx {trial.number}", "log": "epoch 1\nepoch 2\n"}
        stored = {k: vars(self._artifacts.put(v.encode())) for k, v in files.items()}
        outcomes.compressed(work, stage, detailed({"artifacts": stored, "details": {}}))
        (job,) = (one for one in work.stages.open_of_study(trial.study_id) if one.lane == "device")
        attempt = attempts.start(work, job, "dev_made_up", 30.0)
        work.now += timedelta(seconds=25)
        if result is None:
            assert failure is not None
            attempts.fail(work, attempt, failure, self._settings)
            return
        attempts.succeed(work, attempt)
        outcomes.measured(work, job, attempt, result)


def _new_trial(work: UnitOfWork, study: StudyRow, number: int, config: dict[str, Any]) -> TrialRow:
    is_first = number < 10
    expected = {"latency_ratio": 0.7, "latency_ratio_low": 0.66, "latency_ratio_high": 0.74}
    trial = TrialRow(
        id=new_id("trl"),
        study_id=study.id,
        number=number,
        state=TrialState.QUEUED,
        config=config,
        origin="initial" if is_first else "model",
        prediction={} if is_first else expected | {"p_feasible": 0.8, "log_ei": -3.0},
        seed=number,
        metrics=None,
        is_feasible=None,
        violations={},
        failure=None,
        progress={},
        artifacts={},
        details={},
        created_at=work.now,
        started_at=None,
        finished_at=None,
    )
    work.trials.add(trial)
    work.created(trial, "driver")
    return trial


def _result(config: dict[str, Any], extra_drop: float, chance: random.Random) -> dict[str, Any]:
    """Latency falls with what is cut out; accuracy goes where too much of it is gone."""
    cut = [float(v) for k, v in sorted(config.items()) if k.endswith("final_sparsity")]
    weights = (0.28, 0.22, 0.12, 0.08, 0.05, 0.03)
    ratio = 1.02 - sum(w * c for w, c in zip(weights, cut, strict=False))
    ratio *= chance.gauss(1.0, 0.012)
    hurt = 0.16 * max(0.0, sum(cut) / len(cut) - 0.42) + 0.02 * max(0.0, cut[0] - 0.6)
    n_lost = max(-3, round(300 * (hurt + extra_drop + chance.gauss(0.0, 0.004))))
    names = ("p25_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cpu_p50_ms")

    def timing(p50_ms: float) -> dict[str, float]:
        more = {"sd_ms": 0.1, "n_runs": 200, "throughput_per_s": 1000 / p50_ms}
        return dict.fromkeys(names, p50_ms) | more

    def counts(n: int) -> dict[str, int]:
        return {"n_images": 300, "top1_correct": n, "top5_correct": 300}

    return {
        "candidate": timing(2.0 * ratio),
        "baseline": timing(2.0),
        "latency_ratio": ratio,
        "latency_ratio_low": ratio * 0.98,
        "latency_ratio_high": ratio * 1.02,
        "aa_ratio": 1.003,
        "accuracy": {
            "candidate": counts(294 - n_lost),
            "baseline": counts(294),
            "n_disagree_candidate_only": max(0, -n_lost),
            "n_disagree_baseline_only": max(0, n_lost),
        },
        "layers": [
            {
                "layer": layer,
                "type": "Convolution",
                "candidate_ms": round(0.02 * ratio * (0.8 + 0.03 * i), 5),
                "baseline_ms": round(0.02 + 0.0004 * i, 5),
            }
            for i, layer in enumerate(LAYERS)
        ],
        "host": {"temperature_c": 47.0},
    }


def detailed(made: dict[str, Any]) -> dict[str, Any]:
    """Give what compression says of a network the details that a real one has."""
    sparsity, rows = [], []
    for i, layer in enumerate(LAYERS):
        width = 16 * 2 ** (i // 5)
        kept = width - (i * 5) % 11
        n = kept * width * 9
        macs = {"dense_macs": 2_359_296, "macs": 2_359_296 * kept // width}
        sparsity.append(
            {
                "layer": layer,
                "type": "Conv2d",
                "dense_shape": [width, width, 3, 3],
                "shape": [kept, width, 3, 3],
                "params": n,
                "n_zero": n * i // 40,
                "sparsity": i / 40,
                **macs,
            }
        )
        row = {"layer": layer, "shape": [kept, width, 3, 3], "n_weights": n}
        left = {"n_nonzero": n - n * i // 40, "sparsity": i / 40, "filter_sparsity": 0.0}
        rows.append(row | left)
    agreed = {"max_abs": 2e-6, "max_rel": 3e-7, "top1_agreement": 1.0}
    details = {
        "sparsity": sparsity,
        "survival": [
            {"name": "torch", "made_by": "torch 2", "layers": rows, "agreement": None},
            {"name": "onnx", "made_by": "onnx 1", "layers": rows, "agreement": agreed},
        ],
        "history": [
            {
                "stage": "schedule",
                "epoch": n,
                "loss": 1.2 / (n + 1),
                "lr": 0.01,
                "validation_top1": 0.9 + 0.02 * n,
                "validation_loss": 0.4 / (n + 1),
            }
            for n in range(3)
        ],
    }
    metrics = {"params": 120_000, "macs": 17_000_000, "model_bytes": 480_000}
    known = {"metrics": metrics, "artifacts": {}} | made
    return known | {"details": known.get("details", {}) | details}
