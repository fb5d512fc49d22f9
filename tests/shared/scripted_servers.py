"""Real servers, in a thread or in a process that can be killed; the test plays compute."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import httpx
import uvicorn
from waits import wait_until

from stillhouse_service import attempts, outcomes, probes
from stillhouse_service.app import build_app
from stillhouse_service.artifacts import ArtifactStore
from stillhouse_service.ids import utc_now
from stillhouse_service.settings import Settings
from stillhouse_service.store import Store

TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
    weights: [layer1.0.conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 3
    frequency: 1
"""
TRAINING = "epochs: 4\nlr: !float {low: 0.001, high: 0.1, log: true, default: 0.01}\n"

NO_TLS = False  # plain HTTP: reading the certificates would cost every client 50 ms


class Scripted:
    """What a test does with a server and, playing compute, with its database."""

    store: Store
    artifacts: ArtifactStore
    http: httpx.Client
    url: str

    def compute_all(self) -> int:
        """Play the compute cluster: do every stage that waits; the files are made up."""
        n_done = 0
        while True:
            with self.store.read() as view:
                waiting = [row.id for row in view.stages.waiting("compute", view.now, 100)]
            if not waiting:
                return n_done
            for stage_id in waiting:
                with self.store.begin() as work:
                    stage = work.stages.stage(stage_id)
                    attempt = attempts.start(work, stage, "scripted compute", None)
                    attempts.succeed(work, attempt)
                    if stage.kind == "train":
                        outcomes.trained(work, stage, self._trained(stage.order))
                    elif stage.kind == "sketch":
                        probes.made(work, stage, self._sketched(stage.order))
                    else:
                        outcomes.compressed(work, stage, self._compressed(stage.order))
                n_done += 1

    def _trained(self, order: dict[str, Any]) -> dict[str, Any]:
        names = ("weights", "onnx", "probe_inputs", "probe_outputs", "data_validation", "data_test")
        return {
            "artifacts": {name: self._file(f"{name} {order['seed']}") for name in names},
            "metrics": {
                "validation_top1": 0.98,
                "test_top1": 0.97,
                "params": 270_000,
                "macs": 40_000_000,
                "onnx_bytes": 1_100_000,
            },
            "details": {},
        }

    def _compressed(self, order: dict[str, Any]) -> dict[str, Any]:
        names = ("schedule", "onnx", "weights", "probe_outputs")
        text = json.dumps(order)
        return {
            "artifacts": {name: self._file(f"{name} {text}") for name in names},
            "metrics": {"params": 100_000, "macs": 20_000_000, "model_bytes": 400_000},
            "details": {
                "schedule": order["schedule"],
                "training": order["training"],
                "thinning": [{"text": "cut conv1: 16 -> 8 filters\nMACs 40 -> 20"}],
            },
        }

    def _sketched(self, order: dict[str, Any]) -> dict[str, Any]:
        pruners = json.dumps(order["schedule"]["pruners"])
        text = json.dumps(order)
        return {
            "artifacts": {
                "untrained": self._file(f"untrained {text}"),
                "untrained_outputs": self._file(f"untrained_outputs {text}"),
            },
            "metrics": {"params": 100_000, "macs": 20_000_000, "model_bytes": 400_000},
            "details": {"is_decided": True},
            "built": hashlib.sha256(pruners.encode()).hexdigest(),
        }

    def _file(self, text: str) -> dict[str, Any]:
        stored = self.artifacts.put(text.encode())
        return {"sha256": stored.sha256, "n_bytes": stored.n_bytes, "media_type": "text/plain"}

    def baseline(self, seed: int = 0) -> str:
        """A complete baseline."""
        wanted = {"model": "resnet20_cifar", "dataset": "digits", "seed": seed}
        made = self.http.post("/v1/baselines", json=wanted)
        assert made.status_code == 201, made.text
        self.compute_all()
        return str(made.json()["id"])

    def spec(self, **changes: Any) -> dict[str, Any]:
        """A study that can work, with a new baseline unless one is named."""
        spec = {
            "name": "digits",
            "device": "CPU",
            "template": TEMPLATE,
            "training": TRAINING,
            "objectives": ["latency_ratio"],
            "constraints": ["top1_drop <= 0.02"],
            "budget": {"trials": 3},
        }
        spec |= changes
        return spec if "baseline" in spec else spec | {"baseline": self.baseline()}

    def study(self, **changes: Any) -> str:
        """A study whose baseline waits to be checked on its device."""
        made = self.http.post("/v1/studies", json=self.spec(**changes))
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def get(self, path: str) -> Any:
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Server(Scripted):
    """A server in a thread of this process, on a free port."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        self.settings = settings
        self.app = build_app(settings, clock)
        self.store = self.app.state.store
        self.artifacts = self.app.state.artifacts
        # Told to be TCP: else asyncio leaves Nagle on, and every answer takes 40 ms more.
        self._listener = socket.socket(proto=socket.IPPROTO_TCP)
        self._listener.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(self.app, log_level="warning", timeout_graceful_shutdown=2)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, kwargs={"sockets": [self._listener]}, daemon=True
        )
        self._thread.start()
        wait_until(lambda: self._uvicorn.started, "the server to start")
        self.http = httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS)

    def stop(self) -> None:
        self.http.close()
        self._uvicorn.should_exit = True
        self._thread.join(timeout=20)
        self._listener.close()


# Imports everything once and forks a server for each line it reads: a start costs no import.
_FORKER = """
import json, os, pathlib, signal, sys, uvicorn
import stillhouse_optimizer.propose, stillhouse_service.built_network
import stillhouse_compression.models
from stillhouse_service.app import build_app
from stillhouse_service.settings import Settings
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    told = json.loads(line)
    told["artifact_dir"] = pathlib.Path(told["artifact_dir"])
    port = told.pop("port")
    pid = os.fork()
    if pid == 0:
        app = build_app(Settings(**told))
        uvicorn.run(app, host="127.0.0.1", port=port, log_level="error")
        os._exit(0)
    print(pid, flush=True)
"""


class KillableServer(Scripted):
    """A server in a process of its own, on one port: killed with SIGKILL and started again."""

    def __init__(self, settings: Settings) -> None:
        app = build_app(settings)  # not served: for its database alone
        self.store, self.artifacts = app.state.store, app.state.artifacts
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self.http = httpx.Client(base_url=self.url, timeout=30, verify=NO_TLS)
        self._settings = {**asdict(settings), "artifact_dir": str(settings.artifact_dir)}
        self._forker = subprocess.Popen(
            [sys.executable, "-c", _FORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid = 0
        self.start()

    def start(self) -> None:
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        print(
            json.dumps(self._settings | {"port": self._port}), file=self._forker.stdin, flush=True
        )
        self._pid = int(self._forker.stdout.readline())
        wait_until(self._is_up, "the server to start", timeout_s=60)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill()
        self.http.close()
        self._forker.communicate()

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", verify=NO_TLS).status_code == 200
        except httpx.TransportError:
            return False
