"""Node times become layer times; names as both runtimes were seen to give them."""

from __future__ import annotations

import pytest

from stillhouse_benchmark.layers import (
    NodeTime,
    Profile,
    coverage,
    layer_of,
    layer_times,
    middle_mean,
)


@pytest.mark.parametrize(
    ("name", "originals", "layer"),
    [
        (
            "layer1.0.conv1/WithoutBiases",
            ("layer1.0.conv1/WithoutBiases", "relu"),
            "layer1.0.conv1",
        ),
        ("Convolution_323", ("Convolution_323", "layer3.0.downsample.0"), "layer3.0.downsample.0"),
        ("fc", ("fc",), "fc"),
        ("fc", (), "fc"),
        ("Multiply_415", ("Multiply_415",), None),
    ],
)
def test_a_node_belongs_to_its_first_original_with_a_name(
    name: str, originals: tuple[str, ...], layer: str | None
) -> None:
    assert layer_of(name, originals) == layer


BASELINE = Profile(
    (
        NodeTime("input_abcd_acdb_conv1/WithoutBiases", "Reorder", (), 0.1),
        NodeTime("conv1/WithoutBiases", "Convolution", ("conv1/WithoutBiases", "relu1"), 1.0),
        NodeTime("Convolution_7", "Convolution", ("Convolution_7", "layer1.conv1", "add"), 2.0),
        NodeTime("Reshape_9", "Reshape", ("Reshape_9",), 0.2),
        NodeTime("fc", "FullyConnected", ("fc",), 0.5),
    ),
    wall_ms=4.0,
)
CANDIDATE = Profile((NodeTime("fc", "FullyConnected", ("fc",), 0.25),), wall_ms=0.3)


def test_times_are_summed_by_layer_and_the_rest_is_the_runtimes() -> None:
    rows = {row.layer: row for row in layer_times(CANDIDATE, BASELINE)}
    assert list(rows) == ["conv1", "layer1.conv1", "fc", "(runtime)"]
    assert rows["conv1"].baseline_ms == pytest.approx(1.1)  # with the reorder put in for it
    assert rows["conv1"].type == "Convolution"
    assert rows["layer1.conv1"].baseline_ms == pytest.approx(2.0)
    assert rows["(runtime)"].baseline_ms == pytest.approx(4.0 - 3.6)
    assert rows["(runtime)"].candidate_ms == pytest.approx(0.05)
    assert rows["conv1"].candidate_ms == 0.0


def test_coverage_is_the_named_share_of_the_nodes_time() -> None:
    assert coverage(BASELINE) == pytest.approx(3.6 / 3.8)


def test_the_middle_mean_leaves_out_both_quarters() -> None:
    assert middle_mean([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]) == pytest.approx(3.5)
