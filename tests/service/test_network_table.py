"""A network's table by REST, client and command line."""

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., tuple[int, str, str]]


def test_the_table_of_a_network_is_served(server: Any) -> None:
    """ResNet-20 by hand: 19 convolutions, two projections, one linear layer."""
    found = server.get("/v1/models/resnet20_cifar")
    assert (found["depth"], len(found["layers"]), found["n_classes"]) == (20, 22, 10)
    assert found["layers"][0] == {
        "layer": "conv1",
        "type": "Conv2d",
        "shape": [16, 3, 3, 3],
        "params": 432,
        "macs": 432 * 1024,
    }
    other = server.get("/v1/models/resnet20_cifar?n_classes=100")
    assert other["layers"][-1]["shape"] == [100, 64]


def test_a_network_that_is_not_there_is_answered_with_the_nearest(server: Any) -> None:
    answer = server.http.get("/v1/models/resnet20_cifr")
    assert answer.status_code == 404
    assert "did you mean 'resnet20_cifar'" in answer.json()["detail"]
    assert "torchvision" in server.http.get("/v1/models/torchvision:none").json()["detail"]
    assert server.http.get("/v1/models/resnet20_cifar?n_classes=1").status_code == 422


def test_the_command_line_shows_it(at: Run) -> None:
    status, out, _ = at("model", "show", "simplenet_cifar")
    assert status == 0
    assert "depth 5, 62,006 parameters, 651,720 MACs" in out
    assert "16x6x5x5" in out
    status, out, _ = at("model", "show", "simplenet_cifar", "--classes", "3", "--json")
    assert json.loads(out)["layers"][-1]["shape"] == [3, 84]
    assert "vgg16_bn_cifar" in at("model", "list")[1]
    assert at("model", "show", "nothing")[0] == 2
