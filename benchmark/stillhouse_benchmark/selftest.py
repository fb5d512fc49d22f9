"""Does a device still compute? One tiny network with an answer known by hand.

Depends on: numpy; the runtime comes in as a ``Backend``.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import numpy as np

from stillhouse_benchmark.backends import Backend
from stillhouse_benchmark.errors import BenchmarkError

# ONNX, opset 11: relu(2 * input + 1) over (1, 1, 4, 4), flat.
NETWORK = (
    "CAYSADqBAgpICgVpbnB1dAoLY29udi53ZWlnaHQKCWNvbnYuYmlhcxIEY29udhoEY29udiIEQ29udioVCgxrZXJu"
    "ZWxfc2hhcGVAAUABoAEHChgKBGNvbnYSBHJlbHUaBHJlbHUiBFJlbHUKHwoEcmVsdRIGb3V0cHV0GgZvdXRwdXQi"
    "B0ZsYXR0ZW4SCXNlbGYtdGVzdCodCAEIAQgBCAEQAUILY29udi53ZWlnaHRKBAAAAEAqFQgBEAFCCWNvbnYuYmlh"
    "c0oEAACAP1ofCgVpbnB1dBIWChQIARIQCgIIAQoCCAEKAggECgIIBGIYCgZvdXRwdXQSDgoMCAESCAoCCAEKAggQ"
    "QgQKABAL"
)


def self_test(backend: Backend, device: str) -> None:
    """Compile and run the network.

    Raises:
        BenchmarkError: the device is gone, or computes something else; ``JobFailed`` where the
            runtime told why.
    """
    precision = backend.describe(device, "host").precisions[0]
    image = np.linspace(-2.0, 2.0, 16, dtype=np.float32).reshape(1, 1, 4, 4)
    with tempfile.TemporaryDirectory(prefix="stillhouse-self-test-") as folder:
        path = Path(folder) / "self-test.onnx"
        path.write_bytes(base64.b64decode(NETWORK))
        network = backend.compile(path, device, precision, 1)
        network.write(image)
        network.infer()
        found = network.read()
    wanted = np.maximum(2.0 * image.reshape(-1) + 1.0, 0.0)
    if found.shape != wanted.shape or not np.allclose(found, wanted, atol=0.05):
        raise BenchmarkError(f"device {device} computes {found}, {wanted} was wanted")
