"""The command ``stillhouse-worker``: reads its arguments, takes the devices, serves them.

Depends on: the standard library.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Callable, Mapping, Sequence

from stillhouse_benchmark import logs
from stillhouse_benchmark.cache import Cache
from stillhouse_benchmark.client import Client
from stillhouse_benchmark.doctor import examine, render
from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_benchmark.hostinfo import host_name
from stillhouse_benchmark.lock import DeviceLock, lock_folder
from stillhouse_benchmark.loop import DeviceLoop, Settings
from stillhouse_benchmark.protocol import Device
from stillhouse_benchmark.session import Session
from stillhouse_benchmark.supervise import InferenceChild

VERSION = "0.1.0"
GIB = 1024**3
ACCEPT_LIMIT_S = 600.0
TEST_LIMIT_S = 60.0
UNPLUG_LIMIT_S = 120.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given[0] if given and given[0] in COMMANDS else ""
    try:
        if command:
            return COMMANDS[command](given[1:])
        options = _parser().parse_args(given)
        logs.tell_stacks_when_asked()
        logs.configure(options.log_format, "warning" if options.quiet else "info")
        return serve(options)
    except BenchmarkError as error:
        print(f"stillhouse-worker: {error}", file=sys.stderr)
        return 1


def doctor(arguments: Sequence[str]) -> int:
    """Print what is here and what is missing; 1 when something is."""
    argparse.ArgumentParser(prog="stillhouse-worker doctor").parse_args(arguments)
    findings = examine()
    print(render(findings))
    return int(any(finding.state == "missing" for finding in findings))


def check(arguments: Sequence[str]) -> int:
    """Ask a device's compiler about one ONNX file; 0 supported, 2 not."""
    parser = argparse.ArgumentParser(prog="stillhouse-worker check")
    parser.add_argument("file", type=Path)
    parser.add_argument("--device", default="CPU", help="MYRIAD needs no stick for this")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds")
    options = parser.parse_args(arguments)
    if not options.file.is_file():
        raise BenchmarkError(f"no file {options.file}")
    child = InferenceChild(options.runtime)
    try:
        found = child.check(options.file, options.device, options.limit)
    finally:
        child.kill()
    print(json.dumps(found, indent=1))
    return 0 if found["is_supported"] else 2


def accept(arguments: Sequence[str]) -> int:
    """Try every claim that was written without a stick; 0 all hold, 2 not all."""
    parser = argparse.ArgumentParser(prog="stillhouse-worker accept-ncs2")
    parser.add_argument("--json", type=Path, required=True, help="report to send back")
    parser.add_argument("--device", default="MYRIAD")
    parser.add_argument("--onnx", type=Path, help="a network of yours to try")
    parser.add_argument("--runtime", default="auto")
    parser.add_argument(
        "--unplug",
        action="store_true",
        help="also ask you to pull the device out and plug it in again",
    )
    options = parser.parse_args(arguments)
    child = InferenceChild(options.runtime)
    try:
        path = str(options.onnx.resolve()) if options.onnx else None
        errand = {"accept": options.device, "path": path}
        claims = child.ask(errand, "claims", ACCEPT_LIMIT_S)
    finally:
        child.kill()
    if options.unplug:
        claims.append(comes_back(options.runtime, options.device))
    report = {
        "device": options.device,
        "version": VERSION,
        "doctor": [dataclasses.asdict(finding) for finding in examine()],
        "claims": claims,
    }
    options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for claim in claims:
        print(f"{'ok' if claim['is_met'] else 'FAILED':8}{claim['claim']}: {claim['found']}")
    print(f"wrote {options.json}")
    return 0 if all(claim["is_met"] for claim in claims) else 2


def comes_back(
    runtime: str,
    device: str,
    limit_s: float = UNPLUG_LIMIT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Mapping[str, object]:
    """Have a person pull a device out and plug it in; a claim like those of accept.py."""
    claim = "it comes back after it was pulled out"
    for is_wanted, what in ((False, "pull it out"), (True, "plug it in again")):
        print(f"{device}: {what} now (within {limit_s:g} s) ...", flush=True)
        deadline = clock() + limit_s
        while _is_well(runtime, device) != is_wanted:
            if clock() > deadline:
                found = f"waited {limit_s:g} s in vain for: {what}"
                return {"claim": claim, "is_met": False, "found": found}
    return {"claim": claim, "is_met": True, "found": "gone, back, and computes as by hand"}


def _is_well(runtime: str, device: str) -> bool:
    """Whether a device passes its self-test in a process of its own."""
    child = InferenceChild(runtime)
    try:
        child.self_test(device, TEST_LIMIT_S)
    except BenchmarkError:
        return False
    finally:
        child.kill()
    return True


COMMANDS = {"doctor": doctor, "check": check, "accept-ncs2": accept}


def serve(options: argparse.Namespace) -> int:
    """Serve devices until SIGTERM or SIGINT, which hand the running jobs back.

    Raises:
        BenchmarkError: a device is not here or is taken, or the server refuses us.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    locks_in = lock_folder(options.lock_dir)
    locks = [DeviceLock(locks_in, device) for device in options.device]
    try:
        for lock in locks:
            lock.take(options.device_wait)
        devices = describe(options.runtime, options.device, options.host)
        client = Client(options.server, options.token)
        cache_folder = Path(options.cache_dir).expanduser()
        session = Session(client, options.name or options.host, VERSION, devices)
        settings = Settings(
            runtime=devices[0].runtime if options.runtime == "auto" else options.runtime,
            lock_folder=locks_in,
            cache_folder=cache_folder,
            silence_s=options.silence_limit,
            max_failures=options.max_failures,
            reset_command=options.reset_command,
        )
        cache = Cache(cache_folder, int(options.cache_limit_gib * GIB))
        loops = [DeviceLoop(device.name, session, cache, settings, stop) for device in devices]
        return _run_all(loops, 1 if options.once else None, stop)
    finally:
        for lock in locks:
            lock.release()


def describe(runtime: str, names: Sequence[str], host: str) -> list[Device]:
    """Ask a child of its own, so that no runtime is ever loaded here."""
    child = InferenceChild(runtime)
    try:
        return child.describe(names, host)
    finally:
        child.kill()


def _run_all(loops: Sequence[DeviceLoop], max_jobs: int | None, stop: threading.Event) -> int:
    """Run every device in a thread; the first that cannot go on ends all."""
    errors: list[BaseException] = []

    def run(loop: DeviceLoop) -> None:
        try:
            loop.serve(max_jobs)
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(loop,), name=loop.device) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():  # short joins let signals through
            thread.join(timeout=0.5)
    if errors:
        raise errors[0]
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="stillhouse-worker",
        description="Lease jobs from a Stillhouse server and time networks on OpenVINO devices.",
        epilog="Other commands: stillhouse-worker doctor; stillhouse-worker check FILE.onnx; "
        "stillhouse-worker accept-ncs2 --json FILE.",
    )
    parser.add_argument("--server", required=True, help="the server's URL")
    parser.add_argument(
        "--device", action="append", required=True, help="OpenVINO device; may be given again"
    )
    parser.add_argument("--host", default=host_name(), help="this host's name")
    parser.add_argument("--name", help="the worker's name on the server; keeps its ids")
    parser.add_argument(
        "--token",
        default=os.environ.get("STILLHOUSE_TOKEN"),
        help="access token; default: STILLHOUSE_TOKEN",
    )
    parser.add_argument(
        "--runtime", default="auto", help="openvino, openvino2021, or module:factory"
    )
    parser.add_argument("--cache-dir", default="~/.cache/stillhouse-worker")
    parser.add_argument("--cache-limit-gib", type=float, default=10.0)
    parser.add_argument(
        "--lock-dir", help="folder of the host and device locks; default: STILLHOUSE_LOCK_DIR"
    )
    parser.add_argument(
        "--silence-limit", type=float, default=300.0, help="seconds until a device counts as hung"
    )
    parser.add_argument(
        "--device-wait",
        type=float,
        default=10.0,
        help="seconds to wait for another worker to let go of the device",
    )
    parser.add_argument(
        "--max-failures",
        type=int,
        default=3,
        help="device failures in a row until it must pass a self-test",
    )
    parser.add_argument("--reset-command", help="shell command run before a self-test")
    parser.add_argument("--once", action="store_true", help="one job for each device, then end")
    parser.add_argument("--quiet", action="store_true", help="log warnings only")
    parser.add_argument(
        "--log-format",
        choices=logs.FORMATS,
        default=os.environ.get("STILLHOUSE_LOG_FORMAT") or "text",
        help="for people, or a JSON object a line; default: STILLHOUSE_LOG_FORMAT, else text",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    return parser


if __name__ == "__main__":
    sys.exit(main())
