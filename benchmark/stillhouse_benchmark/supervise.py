"""The parent's side of the inference process: start it, watch it, kill it.

Depends on: the standard library. Never imports numpy or a runtime: the parent stays small and no
driver can hang it.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Iterator, Mapping, Sequence

from stillhouse_benchmark.errors import BenchmarkError, JobFailed
from stillhouse_benchmark.protocol import CheckResult, Device, Failure, Result

START_LIMIT_S = 60.0
POLL_S = 0.1
N_LAST_LINES = 20
ROOT = Path(__file__).resolve().parent.parent  # a folder, or the zipapp's file


@dataclass(frozen=True)
class Limits:
    """When a child is given up.

    Attributes:
        job_s: The whole job, seconds.
        silence_s: Without any word from it, seconds: a driver hangs.
    """

    job_s: float
    silence_s: float


class Stopped(BenchmarkError):
    """The job was given up because we were told to."""


class InferenceChild:
    """One inference process, started at once; it loads its runtime and waits for an errand.

    Args:
        runtime: As ``load_backend`` takes it.
        clock: Injected for tests.
        python: The interpreter, where the runtime lives in another one's environment.

    It must be started by a thread that lives as long as the child may: Linux kills a child whose
    parent thread ends when the child asked to die with its parent.
    """

    def __init__(
        self,
        runtime: str,
        clock: Callable[[], float] = time.monotonic,
        python: str = sys.executable,
    ) -> None:
        self._clock = clock
        self._messages: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._last_lines: collections.deque[str] = collections.deque(maxlen=N_LAST_LINES)
        environment = dict(os.environ)
        known = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *([known] if known else [])])
        self._process = subprocess.Popen(
            [python, "-m", "stillhouse_benchmark.child", runtime, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # so that kill() reaches what the child itself started
        )
        self._threads = [
            threading.Thread(target=self._read_messages, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def describe(self, devices: Sequence[str], host: str) -> list[Device]:
        """Ask what devices are.

        Raises:
            BenchmarkError: the runtime does not load, or a device is not there.
        """
        answer = self.ask({"describe": list(devices), "host": host}, "devices", START_LIMIT_S)
        return [Device.from_json(item) for item in answer]

    def list_devices(self, host: str) -> list[Device]:
        """Ask what devices are here.

        Raises:
            BenchmarkError: the runtime does not load.
        """
        answer = self.ask({"list": host}, "devices", START_LIMIT_S)
        return [Device.from_json(item) for item in answer]

    def temperature_c(self, device: str) -> float | None:
        """Ask how warm a device is; None where it does not tell.

        Raises:
            BenchmarkError: the runtime does not load.
        """
        answer: Mapping[str, float | None] = self.ask(
            {"temperature": device}, "temperature", START_LIMIT_S
        )
        return answer["c"]

    def check(self, path: Path, device: str, limit_s: float) -> Mapping[str, Any]:
        """Ask whether a device can run a network; a ``Preflight`` as JSON.

        Raises:
            BenchmarkError: no answer, or no such device.
        """
        errand = {"check": str(path.resolve()), "device": device}
        answer: Mapping[str, Any] = self.ask(errand, "check", limit_s)
        return answer

    def survey(
        self, path: Path, device: str, probe: tuple[Path, Path], folder: Path, limit_s: float
    ) -> Sequence[Mapping[str, Any]]:
        """Ask what is left of a network in every form; ``Stage`` objects as JSON.

        Args:
            path: ONNX.
            device: Where it shall run.
            probe: ``.npy`` files: inputs, and torch's outputs.
            folder: Where the runtime's own files are written.
            limit_s: For the whole of it, seconds.

        Raises:
            JobFailed: the runtime refused the network.
            BenchmarkError: no answer, or no such device.
        """
        inputs, outputs = probe
        errand = {
            "survey": str(path.resolve()),
            "device": device,
            "inputs": str(inputs.resolve()),
            "outputs": str(outputs.resolve()),
            "folder": str(folder.resolve()),
        }
        answer: Mapping[str, Any] = self.ask(errand, "survey", limit_s)
        if "failure" in answer:
            told = Failure.from_json(answer["failure"])
            raise JobFailed(told.failure_class, told.stage, told.reason, told.layers)
        stages: Sequence[Mapping[str, Any]] = answer["stages"]
        return stages

    def self_test(self, device: str, limit_s: float) -> None:
        """Let a device prove that it computes.

        Raises:
            BenchmarkError: it does not.
        """
        self.ask({"self_test": device}, "self_test", limit_s)

    def ask(self, errand: Mapping[str, object], key: str, limit_s: float) -> Any:
        """Send a short errand and wait for the message with ``key``.

        Raises:
            BenchmarkError: the child refused, died, or did not answer in time.
        """
        self._send(errand)
        deadline = self._clock() + limit_s
        while self._clock() < deadline:
            message = self._next()
            if message is None:
                raise BenchmarkError(self._how_it_ended())
            if "fatal" in message:
                raise BenchmarkError(str(message["fatal"]))
            if key in message:
                return message[key]
        raise BenchmarkError(f"the runtime did not answer within {limit_s:g} s")

    def run(
        self,
        errand: Mapping[str, object],
        limits: Limits,
        progress: Callable[[str, float], None],
        is_stopped: Callable[[], bool],
    ) -> Result | CheckResult:
        """Run a job and wait for its end.

        Args:
            errand: As child.py takes it.
            limits: When to give up.
            progress: Told stage and fraction.
            is_stopped: Asked often; true ends the wait.

        Raises:
            JobFailed: the child's own verdict, or ``timeout``, or ``device-fault`` for a child
                that died.
            Stopped: ``is_stopped`` said so.
        """
        self._send(errand)
        started_s = heard_s = self._clock()
        stage = "start"
        while True:
            if is_stopped():
                raise Stopped("stopped")
            message = self._next()
            now_s = self._clock()
            if message is None:
                raise JobFailed("device-fault", stage, self._how_it_ended())
            if message:
                heard_s = now_s
            if "progress" in message:
                stage = str(message["progress"]["stage"])
                progress(stage, float(message["progress"]["fraction"]))
            elif "result" in message:
                return Result.from_json(message["result"])
            elif "checked" in message:
                return CheckResult.from_json(message["checked"])
            elif "failure" in message:
                told = Failure.from_json(message["failure"])
                raise JobFailed(told.failure_class, told.stage, told.reason, told.layers)
            elif "fatal" in message:
                raise JobFailed("device-fault", stage, str(message["fatal"]))
            if now_s - started_s > limits.job_s:
                raise JobFailed("timeout", stage, f"not done within {limits.job_s:g} s")
            if now_s - heard_s > limits.silence_s:
                raise JobFailed(
                    "timeout", stage, f"no word for {limits.silence_s:g} s: the device hangs"
                )

    def kill(self) -> None:
        """End the process, whatever it does, with all it started, and wait until it is gone."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for thread in self._threads:
            thread.join(timeout=1.0)
        if any(thread.is_alive() for thread in self._threads):
            return  # something else holds the pipes: closing them would wait for its end
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _send(self, errand: Mapping[str, object]) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        with contextlib.suppress(OSError):  # a dead child is found when it is listened to
            stdin.write(json.dumps(errand).encode("utf-8") + b"\n")
            stdin.flush()

    def _next(self) -> Mapping[str, Any] | None:
        """The next message, ``{}`` when there is none yet, None when the child is gone."""
        try:
            return self._messages.get(timeout=POLL_S)
        except queue.Empty:
            return {}

    def _read_messages(self) -> None:
        for line in _lines(self._process.stdout):
            try:
                message = json.loads(line)
            except ValueError:
                self._last_lines.append(line)
                continue
            self._messages.put(message)
        self._messages.put(None)

    def _read_errors(self) -> None:
        for line in _lines(self._process.stderr):
            self._last_lines.append(line.rstrip())

    def _how_it_ended(self) -> str:
        """What became of a child that is gone, with the last it printed."""
        code = self._process.wait()
        self._threads[1].join(timeout=1.0)
        last = " / ".join(line for line in list(self._last_lines)[-3:] if line)
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            told = f"the inference process was killed by {name}"
            told += " (often the kernel, out of memory)" if name == "SIGKILL" else ""
        else:
            told = f"the inference process ended with code {code}"
        return f"{told}: {last}"[:600] if last else told


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
    if stream is not None:
        with contextlib.suppress(ValueError, OSError):  # closed under us by kill()
            for line in stream:
                yield line.decode("utf-8", "replace")
