"""Weights before training.

Depends on: torch.
"""

from torch import nn


def initialise(model: nn.Module) -> None:
    """Draw a network's weights in place from torch's global generator.

    Convolutions: normal with variance 2 / fan out, biases 0. Everything else keeps torch's default.

    Source: He et al. 2015, "Delving Deep into Rectifiers", section 2.2.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
