"""Bad schedules: every problem at once, each with its place, and nothing but our error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stillhouse_compression import (
    CompressionScheduler,
    Problem,
    ScheduleError,
    check_schedule,
    dict_config,
    file_config,
    load_yaml,
)

GOLDEN = Path(__file__).parent / "golden" / "schedules"
SHAPES = {
    "conv1.weight": (8, 3, 3, 3),
    "layer1.0.conv1.weight": (16, 8, 3, 3),
    "layer1.1.conv1.weight": (16, 16, 3, 3),
    "layer1.0.conv2.weight": (8, 16, 3, 3),
    "fc.weight": (10, 64),
    "fc.bias": (10,),
}


def _problems(text: str) -> list[Problem]:
    return check_schedule(load_yaml(text), SHAPES)


def _only(text: str) -> Problem:
    (problem,) = _problems(text)
    return problem


def _pruner(arguments: str, policy: str = "epochs: [0]", args: str = "{}") -> str:
    return f"""
pruners:
  p: {arguments}
policies:
  - pruner: {{instance_name: p, args: {args}}}
    {policy}
"""


AGP = "{class: AutomatedGradualPruner, initial_sparsity: 0.1, final_sparsity: 0.5, weights: [W]}"
RANGE = "{starting_epoch: 0, ending_epoch: 4, frequency: 1}"


def test_all_problems_of_a_document_come_at_once_with_their_paths() -> None:
    problems = _problems("""
prunerz: {}
pruners:
  a:
    class: AutomatedGradualPrunner
  b:
    class: L1RankedStructureParameterPruner
    group_typ: Filters
    desired_sparsity: 1.5
    weights: [layer1.0.conv3.weight, fc.weight]
policies:
  - pruner: {instance_name: c}
    epochs: []
  - pruner: {instance_name: b, args: {keep_maks: true}}
    starting_epoch: 3
    ending_epoch: 3
    frequency: 1
  - lr_schedular: {instance_name: x}
    starting_epoch: 0
""")
    assert [problem.path for problem in problems] == [
        "prunerz",
        "pruners.a.class",
        "pruners.b.group_typ",
        "pruners.b.desired_sparsity",
        "pruners.b",
        "pruners.b.weights[0]",
        "policies[0].epochs",
        "policies[0].pruner.instance_name",
        "policies[1].ending_epoch",
        "policies[1].pruner.args.keep_maks",
        "policies[2].lr_schedular",
        "policies[2]",
        "policies[2]",
        "policies[2]",
    ]


@pytest.mark.parametrize(
    ("text", "path", "parts"),
    [
        (
            _pruner("{class: SparsityLevelParameterPruner, levels: {conv1.wight: 0.5}}"),
            "pruners.p.levels.conv1.wight",
            ["no parameter 'conv1.wight'", "did you mean 'conv1.weight'?"],
        ),
        (
            _pruner("{class: SensitivityPruner, sensitivities: {conv1.weight: high}}"),
            "pruners.p.sensitivities.conv1.weight",
            ["found 'high'", "wanted a number"],
        ),
        (
            _pruner("{class: MagnitudeParameterPruner, thresholds: {conv1.weight: 0.1}}"),
            "pruners.p.thresholds",
            ["'*'"],
        ),
        (
            """
lr_schedulers:
  r: {class: OneCycleLR, max_lr: 0.1, epochs: 3, steps_per_epoch: 1}
policies:
  - lr_scheduler: {instance_name: r}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
  - lr_scheduler: {instance_name: r}
    epochs: [3]
""",
            "policies[1]",
            ["ends after 3 steps", "epoch 4"],
        ),
        (
            """
lr_schedulers:
  r: {class: PolynomialLR, T_max: 3, power: 1.5}
policies:
  - lr_scheduler: {instance_name: r}
    epochs: [0, 3]
""",
            "policies[0]",
            ["no real value after epoch 3", "end the window at T_max"],
        ),
        (
            _pruner(AGP.replace("W", "conv1.weight")),
            "policies[0]",
            ["starting_epoch, ending_epoch and frequency, not epochs"],
        ),
        (
            _pruner(
                AGP.replace("W", "conv1.weight").replace("0.5", "0.1"),
                "{starting_epoch: 0, ending_epoch: 4, frequency: 1}".strip("{}").replace(
                    ", ", "\n    "
                ),
            ),
            "pruners.p.final_sparsity",
            ["found 0.1", "more than initial_sparsity (0.1)"],
        ),
        (
            _pruner(
                "{class: L1RankedStructureParameterPruner, group_type: Filters, "
                "desired_sparsity: 0.5, weights: [fc.weight]}"
            ),
            "pruners.p.weights",
            ["fc.weight has shape (10, 64)", "need a convolution"],
        ),
        (
            _pruner(
                "{class: L1RankedStructureParameterPruner, group_type: Filters, "
                "desired_sparsity: 0.5, group_dependency: Follower, weights: [conv1.weight]}"
            ),
            "pruners.p.group_dependency",
            ["found 'Follower'", "allowed: Leader, Group"],
        ),
        (
            _pruner(
                "{class: L1RankedStructureParameterPruner, group_type: Filters, "
                "desired_sparsity: 0.5, group_dependency: Group, "
                "weights: [conv1.weight, layer1.0.conv1.weight]}"
            ),
            "pruners.p.group_dependency",
            ["conv1.weight (8)", "layer1.0.conv1.weight (16)"],
        ),
        (
            _pruner(
                "{class: L1RankedStructureParameterPruner, group_type: Blocks, "
                "desired_sparsity: 0.5, weights: [conv1.weight], "
                "kwargs: {block_shape: [1, 7, 1, 1]}}"
            ),
            "pruners.p.weights",
            ["blocks of 1 x 7 do not divide"],
        ),
        (
            _pruner(
                "{class: L1RankedStructureParameterPruner, group_type: Blocks, "
                "desired_sparsity: 0.5, weights: [conv1.weight]}"
            ),
            "pruners.p.kwargs",
            ["block_shape: [repetitions, depth, 1, 1]"],
        ),
        (
            _pruner(
                "{class: SparsityLevelParameterPruner, levels: {conv1.weight: 0.5}}",
                args="{mask_gradients: true}",
            ),
            "policies[0].pruner.args.mask_gradients",
            ["needs mask_on_forward_only: true"],
        ),
        (
            _pruner(
                "{class: SparsityLevelParameterPruner, levels: {conv1.weight: 0.5}}",
                args="{mini_batch_frequency: 3}",
            ),
            "policies[0].pruner.args.mini_batch_frequency",
            ["did you mean 'mini_batch_pruning_frequency'?"],
        ),
        (
            "quantizers: {q: {class: WRPNQuantizer}}\npolicies: []",
            "quantizers",
            ["does not quantize"],
        ),
        ("pruners: {}", "policies", ["missing"]),
        (
            "lr_schedulers: {x: {class: LambdaLR}}\npolicies: []",
            "lr_schedulers.x.class",
            ["LambdaLR is refused", "Python function"],
        ),
        (
            "pruners: {x: {class: StepLR, step_size: 1}}\npolicies: []",
            "pruners.x.class",
            ["StepLR belongs under lr_schedulers"],
        ),
        (
            "lr_schedulers: {x: {class: MultiStepMultiGammaLR, milestones: [1], gammas: [1, 2]}}\n"
            "policies: []",
            "lr_schedulers.x.gammas",
            ["found 2", "each of 1"],
        ),
        (
            "regularizers: {r: {class: GroupLassoRegularizer, "
            "reg_regims: {fc.weight: [0.1, Channels]}}}\npolicies: []",
            "regularizers.r.reg_regims.fc.weight",
            ["Channels needs a convolution (4-D)"],
        ),
        (
            "regularizers: {r: {class: GroupLassoRegularizer, "
            "reg_regims: {conv1.weight: [0.1, Channels+4D]}}}\npolicies: []",
            "regularizers.r.reg_regims.conv1.weight",
            ["found 'Channels+4D'", "allowed: 2D, 3D"],
        ),
        (
            "distillation: {temperature: 0}\npolicies: []",
            "distillation.temperature",
            ["found 0", "above 0"],
        ),
    ],
)
def test_a_problem_names_place_finding_and_what_is_allowed(
    text: str, path: str, parts: list[str]
) -> None:
    problem = _only(text)
    assert problem.path == path
    for part in parts:
        assert part in problem.message, problem.message


def test_a_window_inside_the_kind_is_told_where_it_belongs() -> None:
    problems = _problems("""
pruners:
  p: {class: SparsityLevelParameterPruner, levels: {conv1.weight: 0.5}}
policies:
  - pruner: {instance_name: p, starting_epoch: 0, ending_epoch: 3, frequency: 1}
""")
    messages = [f"{problem}" for problem in problems]
    assert any("beside 'pruner', not inside" in message for message in messages), messages


def test_a_tag_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = tmp_path / "evil.yaml"
    path.write_text(f"policies: !!python/object/apply:os.system ['touch {witness}']\n")
    model = nn.Linear(2, 2)
    with pytest.raises(ScheduleError, match=r"(?s)evil\.yaml.*no tag that builds") as error:
        file_config(model, None, path)
    assert not witness.exists()
    assert error.value.filename == str(path)
    assert error.value.problems[0].path == "line 1, column 11"


def test_a_repeated_key_is_refused_unless_it_says_the_same() -> None:
    with pytest.raises(ScheduleError, match="'policies' stands there twice, with different"):
        load_yaml("policies: []\npolicies: [1]\n")
    assert load_yaml("version: 1\nversion: 1\n") == {"version": 1}


def test_numbers_without_a_dot_are_numbers() -> None:
    text = "regularizers: {r: {class: L1Regularizer, reg_regims: {fc.weight: 1e-5}}}\npolicies: []"
    assert load_yaml(text)["regularizers"]["r"]["reg_regims"]["fc.weight"] == 1e-5
    assert _problems(text) == []
    # Another loader may hand over what YAML 1.1 makes of it: text.
    assert check_schedule(yaml.safe_load(text), SHAPES) == []


def test_patterns_and_dataparallel_names_mean_the_same_parameters() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(4, 4, 3)

    model = nn.Sequential(Branch(), Branch())
    names = []
    for weights in (["*.conv1.weight"], ["module.0.conv1.weight", "1.conv1.weight"]):
        pruner = {
            "class": "L1RankedStructureParameterPruner",
            "group_type": "Filters",
            "desired_sparsity": 0.5,
            "weights": weights,
        }
        entry = {"pruner": {"instance_name": "p"}, "epochs": [0]}
        scheduler = dict_config(model, None, {"pruners": {"p": pruner}, "policies": [entry]})
        scheduler.on_epoch_begin(0)
        names.append([name for name, mask in scheduler.masks.items() if mask is not None])
    assert names == [["0.conv1.weight", "1.conv1.weight"]] * 2


def test_dataparallel_inside_a_network_does_not_matter() -> None:
    model = nn.Sequential(nn.DataParallel(nn.Sequential(nn.Conv2d(3, 8, 3))), nn.Linear(4, 4))
    assert next(name for name, _ in model.named_parameters()) == "0.module.0.weight"
    for name in ("0.module.0.weight", "0.0.weight", "module.0.0.weight"):
        pruners = {"p": {"class": "SparsityLevelParameterPruner", "levels": {name: 0.5}}}
        policies = [{"pruner": {"instance_name": "p"}, "epochs": [0]}]
        assert check_schedule({"pruners": pruners, "policies": policies}, model) == []


def test_a_schedule_of_a_wrapped_model_finds_its_parameters() -> None:
    model = nn.DataParallel(nn.Sequential(nn.Conv2d(3, 8, 3)))
    pruner = {"class": "SparsityLevelParameterPruner", "levels": {"0.weight": 0.5}}
    entry = {"pruner": {"instance_name": "p"}, "epochs": [0]}
    scheduler = dict_config(model, None, {"pruners": {"p": pruner}, "policies": [entry]})
    scheduler.on_epoch_begin(0)
    assert scheduler.masks["module.0.weight"] is not None


def test_without_strict_unknown_names_and_args_only_warn() -> None:
    model = nn.Linear(4, 4)
    schedule = load_yaml(
        _pruner(
            "{class: SparsityLevelParameterPruner, levels: {weight: 0.5, other.weight: 0.5}}",
            args="{unknown: 1}",
        )
    )
    with pytest.raises(ScheduleError) as error:
        dict_config(model, None, schedule)
    assert len(error.value.problems) == 2
    scheduler = dict_config(model, None, schedule, strict=False)
    assert len(scheduler.warnings) == 2
    scheduler.on_epoch_begin(0)
    assert scheduler.masks["weight"] is not None


def test_what_names_no_parameter_may_say_anything_without_strict() -> None:
    # As an example schedule of the original has it, for a layer of another network.
    lasso = {
        "class": "GroupLassoRegularizer",
        "reg_regims": {
            "conv9.weight": [0.005, "Filters", 0.0008, ["layer3.1.conv3.weight"]],
            "weight": [0.1, "Rows"],
        },
    }
    policy = {"regularizer": {"instance_name": "r"}, "epochs": [0]}
    schedule = {"regularizers": {"r": lasso}, "policies": [policy]}
    found = check_schedule(schedule, nn.Linear(2, 2))
    assert [problem.path for problem in found] == ["regularizers.r.reg_regims.conv9.weight"] * 2
    scheduler = dict_config(nn.Linear(2, 2), None, schedule, strict=False)
    (warning,) = scheduler.warnings
    assert "no parameter 'conv9.weight'" in warning


def test_a_lone_name_stands_for_a_list_of_one() -> None:
    pruner = {
        "class": "AutomatedGradualPruner",
        "initial_sparsity": 0.05,
        "final_sparsity": 0.7,
        "weights": "module.fc.weight",
    }
    window = {"starting_epoch": 0, "ending_epoch": 4, "frequency": 1}
    policy = {"pruner": {"instance_name": "p"}, **window}
    schedule = {"pruners": {"p": pruner}, "policies": [policy]}
    assert check_schedule(schedule, SHAPES) == []
    pruner["weights"] = "module.fc.wieght"
    (problem,) = check_schedule(schedule, SHAPES)
    assert problem.path == "pruners.p.weights"
    assert "did you mean 'fc.weight'?" in problem.message


def test_the_schedules_mapping_is_not_changed() -> None:
    schedule = load_yaml((GOLDEN / "16_combined.yaml").read_text())
    before = copy.deepcopy(schedule)
    check_schedule(schedule, SHAPES)
    assert schedule == before


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(ScheduleError, match=r"(?s)nowhere\.yaml.*No such file"):
        file_config(nn.Linear(2, 2), None, tmp_path / "nowhere.yaml")


def test_an_unknown_teacher_is_told_with_the_known_ones() -> None:
    schedule = {"policies": [], "distillation": {"teacher": "resnet"}}
    with pytest.raises(ScheduleError, match=r"(?s)distillation\.teacher.*initial, big"):
        dict_config(nn.Linear(2, 2), None, schedule, teachers={"big": nn.Linear(2, 2)})


# Fuzz -------------------------------------------------------------------------------------

SEEDS = [path.read_text() for path in sorted(GOLDEN.glob("*.yaml"))] + [
    """
regularizers:
  d: {class: DropFilterRegularizer, reg_regims: {conv1.weight: 0.1}}
  v: {class: GroupVarianceRegularizer, reg_regims: {conv1.weight: [0.1, Channels]}}
pruners:
  s: {class: SplicingPruner, low_thresh_mult: 0.9, hi_thresh_mult: 1.1, sensitivities: {'*': 1}}
  a: {class: ActivationAPoZRankedFilterPruner, group_type: Filters, desired_sparsity: 0.5,
      weights: [conv1.weight]}
  f: {class: FMReconstructionChannelPruner, group_type: Channels, desired_sparsity: 0.5,
      weights: [conv2.weight]}
lr_schedulers:
  o: {class: OneCycleLR, max_lr: 0.1, total_steps: 10}
  c: {class: CyclicLR, base_lr: 0.1, max_lr: 0.2, cycle_momentum: false}
distillation: {teacher: initial, temperature: 2, weights: {distill: 0.3}}
policies:
  - pruner: {instance_name: s, args: {mask_on_forward_only: true, levels: {'*': 0.5}}}
    epochs: [0, 3]
  - regularizer: {instance_name: d}
    starting_epoch: 0
    ending_epoch: 4
    frequency: 1
  - lr_scheduler: {instance_name: o}
    epochs: [1]
""",
]

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["*", "conv1.weight", "Filters", "Leader", "class", "module.conv?.weight"]),
    st.lists(st.integers(-2, 5), max_size=4),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    st.dates(),
    st.binary(max_size=4),
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(node, dict):
        for key, value in node.items():
            found += _places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            found += _places(value, (*path, index))
    return found


@st.composite
def _mutated(draw: st.DrawFn) -> Any:
    document = yaml.safe_load(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        places = _places(document)
        if not places:
            break
        path = draw(st.sampled_from(places))
        node = document
        for step in path[:-1]:
            node = node[step]
        action = draw(st.sampled_from(["replace", "delete", "rename", "copy"]))
        if action == "delete":
            del node[path[-1]]
        elif action == "rename" and isinstance(node, dict):
            key = draw(st.one_of(st.text(max_size=6), st.integers(), st.none(), st.booleans()))
            node[key] = node.pop(path[-1])
        elif action == "copy":
            source = document
            for step in draw(st.sampled_from(places)):
                try:
                    source = source[step]
                except (KeyError, IndexError, TypeError):
                    break
            node[path[-1]] = copy.deepcopy(source)
        else:
            node[path[-1]] = draw(ODD)
    return document


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3)
        self.conv3 = nn.Conv2d(16, 16, 3)
        self.conv4 = nn.Conv2d(16, 12, 1)
        self.fc = nn.Linear(64, 10)


@settings(max_examples=150, deadline=None)
@given(_mutated(), st.booleans())
def test_a_mutated_schedule_builds_or_raises_our_error(document: Any, strict: bool) -> None:
    model = _Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    try:
        scheduler = dict_config(model, optimizer, document, strict=strict)
    except ScheduleError as error:
        assert error.problems
    else:
        assert isinstance(scheduler, CompressionScheduler)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.binary(max_size=100),
        st.builds(
            lambda text, at, piece: text[:at] + piece + text[at + len(piece) :],
            st.sampled_from(SEEDS),
            st.integers(0, 600),
            st.text(alphabet="{}[]:,-&*!|>'\"%@#\n\t 0123456789eabc", max_size=12),
        ),
    )
)
def test_mutilated_text_is_read_or_raises_our_error(text: str | bytes) -> None:
    model = _Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    try:
        dict_config(model, optimizer, load_yaml(text))
    except ScheduleError as error:
        assert error.problems


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\npolicies: *a",
        "policies: " + "[" * 500,
        "policies: 2024-99-99",
        "? {a: 1}\n: 2",
        "\x00",
        "pruners: !!binary '%%%'\npolicies: []",
        "policies: " + "9" * 5000,
        "<<: 3",
        "",
        "[]",
    ],
    ids=range(10),
)
def test_hostile_text_raises_our_error(text: str) -> None:
    with pytest.raises(ScheduleError):
        dict_config(_Net(), None, load_yaml(text))
