"""Parameters of a template in groups that people think in, worked out by hand."""

from pathlib import Path

from stillhouse_service.parameter_groups import groups_of

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "template.yaml"
TRAINING = "epochs: !int {low: 2, high: 6}\nlr: !float {low: 0.001, high: 0.1, log: true}\n"
TEMPLATE = """\
version: 1
pruners:
  early:
    class: !choice [L1RankedStructureParameterPruner_AGP, L2RankedStructureParameterPruner_AGP]
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, name: sparsity}
    weights: [layer1.0.conv1.weight, layer2.0.conv1.weight]
policies:
  - pruner: {instance_name: early}
    starting_epoch: !int {low: 0, high: 1}
    ending_epoch: 3
    frequency: 1
"""


def test_the_digits_example_has_its_layers_stages_algorithms_and_parts() -> None:
    found = groups_of(DIGITS.read_text(), TRAINING)
    stream3 = ["pruners.stream3", "pruners.stream3.filters.final_sparsity"]
    stream3.append("pruners.stream3.fine.final_sparsity")
    assert found["stage"] == {
        "layer1": ["pruners.stage1.final_sparsity", "pruners.stream1.final_sparsity"],
        "layer2": ["pruners.stage2.final_sparsity", "pruners.stream2.final_sparsity"],
        "layer3": ["pruners.stage3.final_sparsity", *stream3],
        "conv1": ["pruners.stream1.final_sparsity"],
    }
    assert found["layer"]["layer3.*.conv2, layer3.0.downsample.0"] == stream3
    assert found["algorithm"]["choice of algorithm"] == ["pruners.stream3"]
    assert found["algorithm"]["AutomatedGradualPruner"] == stream3[2:]
    assert found["part"]["training"] == ["training.epochs", "training.lr"]
    assert found["part"]["choice of algorithm"] == ["pruners.stream3"]


def test_a_policy_counts_as_timing_and_a_parameter_with_a_name_of_its_own_as_no_layer() -> None:
    found = groups_of(TEMPLATE, "epochs: 4\n")
    timing = "policies.early.starting_epoch"
    assert found["part"]["schedule timing"] == [timing]
    assert found["part"]["choice of algorithm"] == ["pruners.early.class"]
    assert found["part"]["how much goes"] == ["sparsity"]
    assert found["layer"] == {
        "layer1.0.conv1, layer2.0.conv1": ["pruners.early.class", timing],
    }
    assert found["algorithm"]["L2RankedStructureParameterPruner_AGP"] == [timing]


def test_a_template_of_another_version_has_no_groups() -> None:
    assert groups_of("pruners: {a: {class: NoSuch, weight: !float {low: 2, high: 1}}}", "") == {}
