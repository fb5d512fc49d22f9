"""The acceptance run for who has a stick: every claim docs/devices.md calls unverified, tried.

Depends on: numpy; the runtime comes in as a ``Backend``. Runs in the inference child.
"""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np

from stillhouse_benchmark.backends import Backend, Network
from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_benchmark.interval import AGAIN, BASELINE, CANDIDATE
from stillhouse_benchmark.layers import coverage
from stillhouse_benchmark.onnxfile import read_onnx
from stillhouse_benchmark.protocol import JobSettings
from stillhouse_benchmark.selftest import NETWORK, self_test
from stillhouse_benchmark.timing import Clocks, measure
from stillhouse_benchmark.verify import LIMITS, agreement
from stillhouse_benchmark.wire import Message

N_IMAGES = 16
N_PROFILED = 20
MIN_COVERAGE = 0.9


@dataclass(frozen=True)
class Claim(Message):
    """One claim and what the device said to it.

    Attributes:
        claim: In words.
        is_met: Whether it holds here.
        found: What was seen, or the error.
    """

    claim: str
    is_met: bool
    found: str


class Acceptance:
    """Tries the claims one by one; a claim that raises is not met.

    Args:
        backend: The runtime.
        device: ``MYRIAD``; another device tries the same claims.
        path: A network to try, None takes the self-test's tiny one.
    """

    def __init__(self, backend: Backend, device: str, path: Path | None) -> None:
        self._backend = backend
        self._device = device
        self._path = path

    def run(self) -> list[Claim]:
        """All claims, in the order in which later ones need earlier ones."""
        with tempfile.TemporaryDirectory(prefix="stillhouse-accept-") as folder:
            if self._path is None:
                self._path = Path(folder) / "self-test.onnx"
                self._path.write_bytes(base64.b64decode(NETWORK))
            claims: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
                ("the runtime finds the device", self._is_found),
                ("it may be used without being root", self._needs_no_root),
                ("libusb from PyPI drives it", self._libusb_is_pypis),
                ("it computes the self-test's answers", self._computes),
                ("its outputs agree with the CPU's within the precision", self._agrees),
                ("two loads of one network take the same time", self._repeats),
                ("its counters name the network's layers", self._names_layers),
                ("it tells its temperature", self._tells_temperature),
            ]
            return [self._try(claim, attempt) for claim, attempt in claims]

    def _try(self, claim: str, attempt: Callable[[], tuple[bool, str]]) -> Claim:
        try:
            is_met, found = attempt()
        except (BenchmarkError, RuntimeError, ValueError) as error:
            return Claim(claim, False, f"{type(error).__name__}: {error}")
        return Claim(claim, is_met, found)

    def _precision(self) -> str:
        return self._backend.describe(self._device, "host").precisions[0]

    def _load(self, device: str, precision: str) -> Network:
        assert self._path is not None
        return self._backend.compile(self._path, device, precision, 1)

    def _is_found(self) -> tuple[bool, str]:
        device = self._backend.describe(self._device, "host")
        return True, f"{device.full_name}, {', '.join(device.precisions)}"

    def _needs_no_root(self) -> tuple[bool, str]:
        is_root = hasattr(os, "geteuid") and os.geteuid() == 0
        self._backend.describe(self._device, "host")
        return not is_root, "run by root: run it as another user" if is_root else "found by a user"

    def _libusb_is_pypis(self) -> tuple[bool, str]:
        self._backend.describe(self._device, "host")  # loaded is not enough: it must have found one
        try:
            maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False, "this system does not tell what is loaded"
        loaded = {line.split()[-1] for line in maps.splitlines() if "libusb" in line}
        told = ", ".join(sorted(loaded)) or "no libusb is loaded"
        return any("libusb_package" in path for path in loaded), told

    def _computes(self) -> tuple[bool, str]:
        self_test(self._backend, self._device)
        return True, "relu(2 x + 1) as by hand"

    def _agrees(self) -> tuple[bool, str]:
        precision = self._precision()
        ours, reference = self._load(self._device, precision), self._load("CPU", "f32")
        shape = (N_IMAGES, *ours.input_shape[1:])
        images = np.random.RandomState(0).standard_normal(shape).astype(np.float32)
        found = agreement(_answers(ours, images), _answers(reference, images))
        told = f"max rel {found.max_rel:.2e}, Top-1 agrees on {found.top1_agreement:.0%}"
        return found.max_rel <= LIMITS[precision], told

    def _repeats(self) -> tuple[bool, str]:
        networks = {
            n: self._load(self._device, self._precision()) for n in (CANDIDATE, BASELINE, AGAIN)
        }
        settings = JobSettings(time_limit_s=20.0, max_aa_deviation=0.05)
        measured = measure(
            lambda: {name: network.infer for name, network in networks.items()},
            settings,
            Clocks(),
            is_recompiled=False,
        )
        found = measured.estimate
        told = (
            f"ratio {found.ratio:.4f} [{found.low:.4f}, {found.high:.4f}], A/A {found.aa_ratio:.4f}"
        )
        return abs(found.ratio - 1.0) <= 0.02, f"{told}, p50 {measured.baseline.p50_ms:.3f} ms"

    def _names_layers(self) -> tuple[bool, str]:
        assert self._path is not None
        shape = next(iter(read_onnx(self._path).inputs.values()))
        image = np.zeros(shape, dtype=np.float32)
        profile = self._backend.profile(
            self._path, self._device, self._precision(), 1, image, N_PROFILED
        )
        share = coverage(profile)
        names = ", ".join(node.name for node in profile.nodes[:8])
        return share >= MIN_COVERAGE, f"{share:.0%} of the nodes' time is named; nodes: {names}"

    def _tells_temperature(self) -> tuple[bool, str]:
        found = self._backend.temperature_c(self._device)
        return found is not None, "none" if found is None else f"{found:.1f} C"


def _answers(network: Network, images: np.ndarray) -> np.ndarray:
    rows = []
    for index in range(len(images)):
        network.write(images[index : index + 1])
        network.infer()
        rows.append(network.read())
    return np.stack(rows)
