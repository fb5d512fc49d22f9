"""What this host has, what it lacks, and the command that mends it.

Depends on: the standard library. Looks only; changes nothing.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

from stillhouse_benchmark.backends import RUNTIMES
from stillhouse_benchmark.cooling import START_C
from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_benchmark.hostinfo import cpu_model, host_name, load_1m
from stillhouse_benchmark.lock import lock_folder
from stillhouse_benchmark.protocol import COMPILES, Device
from stillhouse_benchmark.supervise import InferenceChild

# The stick before and after its firmware is loaded.
STICK_IDS = (("03e7", "2485"), ("03e7", "f63b"))
USB = Path("/sys/bus/usb/devices")
RULES = (Path("/etc/udev/rules.d"), Path("/lib/udev/rules.d"), Path("/usr/lib/udev/rules.d"))
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
MANY_TICKS = 20000


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        what: What was looked at.
        state: ``ok``, ``note`` or ``missing``.
        told: What was found.
        mend: The command that helps; empty where nothing needs help.
    """

    what: str
    state: str
    told: str
    mend: str = ""


def examine() -> list[Finding]:
    """Look at everything; a part that fails becomes a finding of its own."""
    findings = [_python(), _cpu()]
    runtime, devices = _devices()
    findings += runtime
    findings += [_told(device) for device in devices]
    findings += [_temperature(device) for device in devices if device.kind == "MYRIAD"]
    findings += [_clock(), _governor(), _load(), _locks()]
    if any(device.runtime == "openvino2021" for device in devices):
        findings += [_libusb(), _stick(), _udev_rule()]
    return findings


def render(findings: Sequence[Finding]) -> str:
    """The report as text, one finding a line, what mends it below."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8}{finding.what:18}{finding.told}")
        if finding.mend:
            lines.append(f"{'':26}-> {finding.mend}")
    return "\n".join(lines)


def _python() -> Finding:
    told = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("python", "ok", told)


def _cpu() -> Finding:
    return Finding("processor", "ok", cpu_model())


def _is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _devices() -> tuple[list[Finding], list[Device]]:
    """Runtimes that are installed, and the devices of the one that is used."""
    child = InferenceChild("auto")
    try:
        devices = child.list_devices(host_name())
    except BenchmarkError as error:
        names = " or ".join(f'pip install "./benchmark[{name}]"' for name in RUNTIMES)
        return [Finding("runtime", "missing", str(error), names)], []
    finally:
        child.kill()
    if not devices:
        return [Finding("runtime", "missing", "no devices", "see the runtime's own log")], []
    told = f"{devices[0].runtime} {devices[0].runtime_version}"
    return [Finding("runtime", "ok", told)], devices


def _told(device: Device) -> Finding:
    told = f"{device.full_name}; computes in {', '.join(device.precisions)}; reads ONNX up to "
    told += f"opset {device.max_opset}"
    compilers = [c[len(COMPILES) :] for c in device.capabilities if c.startswith(COMPILES)]
    others = [kind for kind in compilers if kind != device.kind]
    told += f"; compiles for {', '.join(others)} as well" if others else ""
    return Finding(f"device {device.name}", "ok", told)


def _temperature(device: Device) -> Finding:
    child = InferenceChild("auto")
    try:
        found_c = child.temperature_c(device.name)
    except BenchmarkError as error:
        return Finding("temperature", "note", str(error))
    finally:
        child.kill()
    if found_c is None:
        return Finding("temperature", "note", f"{device.name} tells none")
    return Finding("temperature", "ok" if found_c <= START_C else "note", f"{found_c:.0f} C")


def _clock(clock: Callable[[], float] = time.perf_counter) -> Finding:
    ticks = [clock() for _ in range(MANY_TICKS)]
    steps = [b - a for a, b in zip(ticks, ticks[1:]) if b > a]
    finest_us = min(steps) * 1e6 if steps else float("inf")
    if finest_us > 10.0:
        return Finding("clock", "note", f"{finest_us:.1f} us: short inferences are told coarsely")
    return Finding("clock", "ok", f"{finest_us:.2f} us from one reading to the next")


def _governor() -> Finding:
    try:
        name = GOVERNOR.read_text(encoding="ascii").strip()
    except OSError:
        return Finding("CPU governor", "note", "not to be read here (virtual machine, container?)")
    if name == "performance":
        return Finding("CPU governor", "ok", name)
    mend = (
        f"echo performance | sudo tee {GOVERNOR.parent.parent.parent}/cpu*/cpufreq/{GOVERNOR.name}"
    )
    return Finding("CPU governor", "note", f"{name}: the clock rate follows the load", mend)


def _load() -> Finding:
    load = load_1m()
    if load is not None and load > 0.5:
        return Finding(
            "load", "note", f"{load}: something else runs here; timing may fail its gate"
        )
    return Finding("load", "ok", "unknown" if load is None else str(load))


def _locks() -> Finding:
    try:
        return Finding("locks", "ok", str(lock_folder()))
    except OSError as error:
        return Finding("locks", "missing", str(error), "set STILLHOUSE_LOCK_DIR")


def _libusb() -> Finding:
    if ctypes.util.find_library("usb-1.0") or _is_importable("libusb_package"):
        return Finding("libusb", "ok", "found")
    mend = "sudo apt-get install libusb-1.0-0 libudev1 (or: pip install libusb-package)"
    return Finding("libusb", "missing", "the stick's driver needs libusb-1.0.so.0", mend)


def _stick() -> Finding:
    found = [path.name for path in _usb_devices() if _ids(path) in STICK_IDS]
    if found:
        return Finding("stick", "ok", f"on USB {', '.join(found)}")
    return Finding("stick", "missing", "no Neural Compute Stick 2 on USB", "plug it in (USB 3)")


def _udev_rule() -> Finding:
    for folder in RULES:
        for path in sorted(folder.glob("*.rules")) if folder.is_dir() else ():
            if "03e7" in path.read_text(encoding="utf-8", errors="replace"):
                return Finding("udev rule", "ok", str(path))
    return Finding(
        "udev rule",
        "missing",
        "without it only root may use the stick",
        'echo \'SUBSYSTEM=="usb", ATTRS{idVendor}=="03e7", GROUP="users", MODE="0660"\' | '
        "sudo tee /etc/udev/rules.d/97-myriad.rules && sudo udevadm control --reload-rules && "
        "sudo udevadm trigger",
    )


def _usb_devices() -> list[Path]:
    return sorted(USB.iterdir()) if USB.is_dir() else []


def _ids(path: Path) -> tuple[str, str]:
    try:
        vendor = (path / "idVendor").read_text(encoding="ascii").strip()
        return vendor, (path / "idProduct").read_text(encoding="ascii").strip()
    except OSError:
        return "", ""
