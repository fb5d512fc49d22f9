"""A package with networks of its own, as pip would have laid it out."""

from pathlib import Path

_MODULE = """
from torch import nn

from stillhouse_compression.models import ModelInfo


class Little(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.body = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.head = nn.Linear(16, n_classes)

    def forward(self, x):
        x = self.relu(self.bn(self.stem(x)))
        return self.head(self.body(x).mean((2, 3)))


def refuse(n_classes):
    raise RuntimeError("no weights here")


little = ModelInfo("little", "A network of somebody's own", (3, 32, 32), 10, Little)
refusing = ModelInfo("refusing", "Cannot be made", (3, 32, 32), 10, refuse)
misnamed = ModelInfo("other", "Called otherwise", (3, 32, 32), 10, Little)
no_network = 7
ours = ModelInfo("resnet20_cifar", "Wants our name", (3, 32, 32), 10, Little)
"""
_ENTRY_POINTS = """[stillhouse.models]
little = own_networks_of_somebody:little
refusing = own_networks_of_somebody:refusing
misnamed = own_networks_of_somebody:misnamed
no_network = own_networks_of_somebody:no_network
not_there = own_networks_of_somebody:not_there
resnet20_cifar = own_networks_of_somebody:ours
"""


def lay_out(folder: Path) -> Path:
    """Write the package into `folder`, which then belongs on the module path."""
    (folder / "own_networks_of_somebody.py").write_text(_MODULE)
    info = folder / "somebody-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS)
    return folder
