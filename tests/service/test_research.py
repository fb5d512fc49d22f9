"""The research plan from the first stage to the last; compute and device are scripted."""

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stillhouse import Client
from stillhouse_compression import models
from stillhouse_compression.sweep.cases import Entry, sweep_cases
from stillhouse_compression.template import parse_template
from stillhouse_compression.training import Recipe, TrainingSettings
from stillhouse_service.errors import SpecRejected
from stillhouse_service.research import run_research
from stillhouse_service.research_file import read_research_plan
from stillhouse_service.research_page import write_page
from stillhouse_service.schemas.experiments import EntryIn

PLAN = """\
name: digits
baseline: {model: resnet20_cifar, dataset: digits}
device: CPU
constraints: ["top1_drop <= 0.02"]
training: {epochs: 2, recovery_epochs: 0}
grid:
  - {algorithm: filters_l1, layers: [stage1, stage2], levels: [0.5]}
  - {algorithm: channels_l1, layers: [all], levels: [0.5]}
  - {algorithm: element_level, layers: [all], levels: [0.5]}
study: {budget: {trials: 2}}
"""
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/experiment*.yaml"))
RATIOS = {"filters_l1/stage1/0.5": 0.7, "channels_l1/all/0.5": 0.8, "filter+channel": 0.65}


class Player(threading.Thread):
    """Plays compute and a device host that knows how fast each case is."""

    def __init__(self, server: Any, host: Any) -> None:
        super().__init__(daemon=True)
        self._server, self._host = server, host
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.is_set():
            self._server.compute_all()
            answer = self._host.ask(wait_s=0.1)
            if answer.status_code == 200:
                lease = answer.json()
                self._host.measure(lease, self._ratio(lease["job"]))

    def _ratio(self, job: dict[str, Any]) -> float:
        if job["candidate"] == job["baseline"]:
            return 1.0
        with self._server.store.read() as view:
            trial = view.trials.named(view.stages.stage(job["id"]).trial_id)
        case = trial.config.get("case")
        # Trials of the search, and its winner again.
        return 0.6 if case is None or case.startswith("trial") else RATIOS.get(case, 1.0)


@pytest.fixture
def player(server: Any, connect: Any) -> Any:
    playing = Player(server, connect(server))
    playing.start()
    yield playing
    playing.ended.set()
    playing.join()


def test_every_stage_follows_from_the_one_before(
    server: Any, player: Player, tmp_path: Path
) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(PLAN)
    plan = read_research_plan(file)
    console = Console(file=io.StringIO(), width=200)
    with Client(server.url) as client:
        found = run_research(client, plan, console, poll_s=0.05)
        assert list(found.stages) == ["verify", "baseline", "sweep", "combine", "finalize"]
        assert {one.state for one in found.stages.values()} == {"finished"}
        # the combination took the sweep's best, the template the stage that gained
        assert found.stages["combine"].notes[0].startswith("filter: filters_l1/stage1/0.5")
        assert found.study is not None
        template = found.study.spec["template"]
        assert "stage1:" in template
        assert "layer2.0.conv1: cut with its stage it made nothing distinguishably" in (
            template.replace("\n#   ", " ")
        )
        assert found.study.json["finalized"]["state"] == "finished"

        # run again, as after a kill: everything is found, nothing is repeated
        n_trials = sum(one.n_trials for one in client.experiments.list())
        again = run_research(client, plan, console, poll_s=0.05)
        assert sum(one.n_trials for one in client.experiments.list()) == n_trials
        assert again.study is not None
        assert again.study.id == found.study.id

        page = tmp_path / "docs" / "digits.md"
        files = write_page(client, plan, again, tmp_path, page)
    text = page.read_text()
    assert "channels_l1/all/0.5" in text
    assert "| Latency ratio again, in the test split's job | 1 | 0.600 (0.594 to 0.606) |" in text
    assert "No trial of these was distinguishably faster: element_level." in text
    assert "had ratio 0.700 (0.693 to 0.707): the search's winner is faster." in text
    for name in ("digits-sweep-ratios.svg", "digits-sweep-macs.svg"):
        assert f"]({name})" in text
        assert page.with_name(name).read_text().startswith("<svg")
    assert files[-1] == tmp_path / "summary.json"
    assert json.loads(files[-1].read_text())["study"] == again.study.id
    assert (tmp_path / "sweep-trials.csv").read_text().count("\n") == 6  # header, five trials


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "must hold a mapping"),
        ("name: [", "cannot read"),
        (PLAN + "colour: red\n", "colour: unknown key"),
        (PLAN.replace("device: CPU\n", ""), "device: missing"),
        (PLAN.replace("{budget: {trials: 2}}", "{trials: 2}"), "study.budget: missing"),
        (PLAN.replace("device: CPU", "device: [CPU]"), "device: must be a str"),
    ],
)
def test_a_plan_that_cannot_be_read_says_where(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(text)
    with pytest.raises(SpecRejected, match=message):
        read_research_plan(file)


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_plan_among_the_examples_can_be_laid_out(file: Path, template: str) -> None:
    plan = read_research_plan(file)
    Recipe.from_mapping(plan.baseline["recipe"])
    grid = [EntryIn.model_validate(one) for one in plan.grid]
    entries = [
        Entry(one.algorithm, tuple(one.layers), tuple(one.levels) if one.levels else None)
        for one in grid
    ]
    epochs = TrainingSettings.from_mapping(plan.training).epochs
    network = models.build("resnet20_cifar")  # torchvision's is not at hand everywhere
    cases = sweep_cases(network, (3, 32, 32), entries, epochs)
    assert {case.algorithm for case in cases} == {one.algorithm for one in grid}
    found = parse_template(template, plan.study["training"]).parameters
    assert "training.lr" in {one.name for one in found}
