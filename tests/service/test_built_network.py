"""What a config builds, as predicted, against networks that were really masked and thinned."""

from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from stillhouse_compression import datasets, models
from stillhouse_compression.layers import layer_macs, weight_shapes
from stillhouse_compression.schedule.config import dict_config
from stillhouse_compression.template import parse_template
from stillhouse_compression.template.template import Template
from stillhouse_compression.thinning import thin
from stillhouse_optimizer.inputs import columns_of
from stillhouse_optimizer.space import Space
from stillhouse_optimizer.spec import Problem
from stillhouse_service.built_network import BuiltNetwork, built_network
from stillhouse_service.channel_map import channel_map

NETWORK = ("resnet20_cifar", "digits")
TEMPLATE = """\
version: 1
pruners:
  first:    # free layers, in steps of 4 filters
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    group_size: 4
    mask_batchnorm: true
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.95, default: 0.3}
    weights: [layer1.*.conv1.weight]
  stream:    # a coupled group: one verdict, or each its own, which cuts nothing
    class: L2RankedStructureParameterPruner
    group_type: Filters
    group_dependency: !choice [Group, null]
    rounding_fn: ceil
    mask_batchnorm: true
    desired_sparsity: !float {low: 0.1, high: 0.9, default: 0.3}
    weights: [layer3.*.conv2.weight, layer3.0.downsample.0.weight]
  fine:    # single weights: shapes stay
    class: SparsityLevelParameterPruner
    levels: {layer2.0.conv1.weight: !float {low: 0.1, high: 0.9, default: 0.5}}
  how: !choice
    wide:
      class: RandomRankedFilterPruner
      group_type: Filters
      mask_batchnorm: true
      desired_sparsity: !float {low: 0.0, high: 0.9, default: 0.3}
      weights: [layer2.1.conv1.weight]
    loose:
      class: L1RankedStructureParameterPruner
      group_type: Channels
      desired_sparsity: !float {low: 0.0, high: 0.9, default: 0.3}
      weights: [layer2.1.conv1.weight]
policies:
  - {pruner: {instance_name: first}, starting_epoch: 0, ending_epoch: 3, frequency: 1}
  - !optional {pruner: {instance_name: stream}, epochs: [0, 1, 2]}
  - {pruner: {instance_name: fine}, epochs: [0]}
  - {pruner: {instance_name: how}, epochs: [0]}
"""


def _thinned(template: Template, config: dict[str, Any]) -> torch.nn.Module:
    """Mask as the schedule says, without training, and cut."""
    torch.manual_seed(0)
    info = datasets.dataset_info(NETWORK[1])
    model = models.build(NETWORK[0], info.n_classes)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = dict_config(model, optimizer, template.render(config, model).schedule)
    for epoch in range(3):
        scheduler.on_epoch_begin(epoch, optimizer)
        scheduler.on_minibatch_begin(epoch, 0, 1, optimizer)
        scheduler.on_minibatch_end(epoch, 0, 1, optimizer)
        scheduler.on_epoch_end(epoch, optimizer)
    thin(model, info.shape, parts=("filters",))
    return model


def _columns(template: Template, config: dict[str, Any]) -> dict[str, Any]:
    space = Space(Problem.from_mapping(template.to_problem()))
    return columns_of(space, space.encode(config)[None, :])


@pytest.fixture(scope="module")
def template() -> Template:
    return parse_template(TEMPLATE, "epochs: 3\n")


@pytest.mark.parametrize("seed", range(3))
def test_a_network_is_built_as_predicted(template: Template, seed: int) -> None:
    config = template.sample_config(Random(seed))
    model = _thinned(template, config)
    shape = datasets.dataset_info(NETWORK[1]).shape
    dense = models.build(NETWORK[0], 10)
    macs = layer_macs(model, shape)
    predicted = BuiltNetwork(template, channel_map(*NETWORK))(_columns(template, config))
    share = sum(macs.values()) / sum(layer_macs(dense, shape).values())
    assert predicted["mac_share"][0] == pytest.approx(share, rel=1e-9)
    shapes = weight_shapes(model)
    off = sum(macs[name] for name, size in shapes.items() if size[0] % 16)
    assert predicted["off_16"][0] == pytest.approx(off / sum(macs.values()))
    kept = shapes["layer1.0.conv1"][0] / 16
    assert predicted["pruners.first.final_sparsity"][0] == pytest.approx(1 - kept)


def test_what_the_schedule_does_not_fix_is_left_as_asked_for(template: Template) -> None:
    built = BuiltNetwork(template, channel_map(*NETWORK))
    # Single weights and input channels say nothing of filters.
    assert built.replaced == [
        "pruners.first.final_sparsity",
        "pruners.how.wide.desired_sparsity",
        "pruners.stream.desired_sparsity",
    ]
    space = Space(Problem.from_mapping(template.to_problem()))
    features = built(columns_of(space, space.sample(500, np.random.default_rng(0))))
    for name, column in features.items():
        known = column[~np.isnan(column)]
        assert ((known >= 0) & (known <= 1)).all(), name
    assert np.isnan(features["pruners.how.wide.desired_sparsity"]).any()


def test_a_template_of_single_weights_says_nothing() -> None:
    text = TEMPLATE[: TEMPLATE.index("  first:")] + TEMPLATE[TEMPLATE.index("  fine:") :]
    text = (
        text[: text.index("  how:")]
        + "policies:\n  - {pruner: {instance_name: fine}, epochs: [0]}\n"
    )
    assert built_network(text, "epochs: 3\n", *NETWORK) is None
