"""A server that speaks docs/protocol.md, small networks with numpy's answers, data on its shelf."""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Iterator

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

SHAPE = (3, 16, 16)
N_CLASSES = 10


def convolve(images: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3x3 convolution with padding 1, by definition."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    summed: np.ndarray = np.einsum("nchwij,ocij->nohw", windows, weight)
    result: np.ndarray = summed + bias[None, :, None, None]
    return result


@dataclass
class Net:
    """conv1 - relu - conv2 - relu - mean - fc, as ONNX and in numpy."""

    width: int
    seed: int = 0
    weights: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng = np.random.RandomState(self.seed)

        def draw(*shape: int) -> np.ndarray:
            drawn: np.ndarray = rng.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
            return drawn.astype("f")

        self.weights = {
            "conv1.weight": draw(self.width, SHAPE[0], 3, 3),
            "conv1.bias": rng.standard_normal(self.width).astype("f") * np.float32(0.1),
            "conv2.weight": draw(self.width, self.width, 3, 3),
            "conv2.bias": rng.standard_normal(self.width).astype("f") * np.float32(0.1),
            "fc.weight": draw(N_CLASSES, self.width),
            "fc.bias": rng.standard_normal(N_CLASSES).astype("f") * np.float32(0.1),
        }

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Scores of (n, 3, 16, 16) images."""
        w = {name: array.astype(np.float64) for name, array in self.weights.items()}
        x = np.maximum(convolve(images, w["conv1.weight"], w["conv1.bias"]), 0.0)
        x = np.maximum(convolve(x, w["conv2.weight"], w["conv2.bias"]), 0.0).mean(axis=(2, 3))
        scores: np.ndarray = x @ w["fc.weight"].T + w["fc.bias"]
        return scores.astype(np.float32)

    def onnx(self, batch: Any = 1) -> bytes:
        """The same network with torch's names."""
        nodes = [
            _node("Conv", "conv1", ["input"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["conv1"], ["relu1"], name="relu1"),
            _node("Conv", "conv2", ["relu1"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["conv2"], ["relu2"], name="relu2"),
            helper.make_node("GlobalAveragePool", ["relu2"], ["pool"], name="pool"),
            helper.make_node("Flatten", ["pool"], ["flatten"], name="flatten"),
            _node("Gemm", "fc", ["flatten"], transB=1),
        ]
        return model_bytes(nodes, self.weights, [batch, *SHAPE], "fc", [batch, N_CLASSES])


def _node(kind: str, name: str, inputs: list[str], **attributes: Any) -> Any:
    inputs = [*inputs, f"{name}.weight", f"{name}.bias"]
    return helper.make_node(kind, inputs, [name], name=name, **attributes)


def model_bytes(
    nodes: list[Any], weights: dict[str, np.ndarray], shape: list[Any], output: str, out: list[Any]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=7)
    data: bytes = model.SerializeToString()
    return data


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def entry(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


class Shelf:
    """Artifacts by hash."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def put(self, data: bytes) -> dict[str, Any]:
        named = entry(data)
        self.files[named["sha256"]] = data
        return named


@dataclass
class Digits:
    """A made-up split: random pixels, two shards."""

    pixels: np.ndarray
    labels: np.ndarray
    mean: tuple[float, ...] = (0.5, 0.4, 0.3)
    std: tuple[float, ...] = (0.5, 0.25, 0.2)

    def normalised(self) -> np.ndarray:
        mean = np.array(self.mean).reshape(1, 3, 1, 1)
        std = np.array(self.std).reshape(1, 3, 1, 1)
        images: np.ndarray = (self.pixels / 255.0 - mean) / std
        return images.astype(np.float32)

    def manifest(self, shelf: Shelf, split: str = "validation") -> dict[str, Any]:
        half = len(self.pixels) // 2
        shards = []
        for part in (self.pixels[:half], self.pixels[half:]):
            shards.append({**shelf.put(npy(part)), "n_images": len(part)})
        return {
            "dataset": "random",
            "split": split,
            "split_hash": "0" * 8,
            "n_images": len(self.pixels),
            "n_classes": N_CLASSES,
            "shape": list(SHAPE),
            "mean": list(self.mean),
            "std": list(self.std),
            "shards": shards,
            "labels": shelf.put(npy(self.labels)),
        }


@pytest.fixture(scope="session")
def digits() -> Digits:
    rng = np.random.RandomState(7)
    pixels = rng.randint(0, 256, size=(40, *SHAPE)).astype(np.uint8)
    return Digits(pixels, rng.randint(0, N_CLASSES, size=40).astype(np.int64))


@pytest.fixture(scope="session")
def wide_net() -> Net:
    return Net(width=48, seed=1)


@pytest.fixture(scope="session")
def slim_net() -> Net:
    return Net(width=8, seed=2)


LENIENT = {
    "n_compilations": 2,
    "max_aa_deviation": 10.0,
    "target_interval": 1.0,
    "time_limit_s": 2.0,
}


@pytest.fixture
def make_job(digits: Digits, wide_net: Net, slim_net: Net) -> Callable[..., dict[str, Any]]:
    """Puts a job's files on a shelf and returns the job as JSON; any part can be replaced."""

    def make(shelf: Shelf, **changes: Any) -> dict[str, Any]:
        candidate = changes.pop("candidate", slim_net.onnx())
        baseline = changes.pop("baseline", wide_net.onnx())
        manifest = changes.pop("manifest", None) or digits.manifest(shelf)
        inputs = digits.normalised()[:4]
        outputs = changes.pop("candidate_outputs", slim_net.answer(inputs))
        settings = {**LENIENT, **changes.pop("settings", {})}
        job = {
            "id": "job_1",
            "kind": "benchmark",
            "device": "CPU",
            "precision": "f32",
            "candidate": shelf.put(candidate),
            "baseline": shelf.put(baseline),
            "probe": {
                "inputs": shelf.put(npy(inputs)),
                "candidate_outputs": shelf.put(npy(outputs)),
                "baseline_outputs": shelf.put(npy(wide_net.answer(inputs))),
            },
            "data": shelf.put(json.dumps(manifest).encode()),
            "split": "validation",
            "settings": settings,
        }
        job.update(changes)
        return job

    return make


class Server:
    """A server in this process: hands out jobs, keeps what comes back."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self.leases: dict[str, dict[str, Any]] = {}
        self.workers: dict[str, dict[str, Any]] = {}
        self.events: queue.Queue[tuple[str, str, Any]] = queue.Queue()
        self.heartbeats: list[dict[str, Any]] = []
        self.cancelled: set[str] = set()
        self.refuse: dict[str, int] = {}
        self.cut_after: dict[str, int] = {}
        self.ranges: list[str | None] = []
        self.is_down = False
        self.n_registrations = 0
        self.heartbeat_s = 0.2
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.answer(self, body)

            def do_GET(self) -> None:
                server.answer(self, None)

        class Http(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Workers are killed in mid-call here; their broken pipes are no news."""

        self._http = Http(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def add(self, job: dict[str, Any]) -> None:
        self.jobs.put(job)

    def wait(self, kind: str, timeout_s: float = 60.0) -> Any:
        """The body of the next event, which must be of this kind."""
        found, _, body = self.events.get(timeout=timeout_s)
        assert found == kind, f"{found}: {body}"
        return body

    def answer(self, call: Any, body: Any) -> None:
        if self.is_down:
            call.close_connection = True
            call.connection.close()
            return
        assert call.headers["Stillhouse-Protocol"] == "1"
        for prefix, status in self.refuse.items():
            if call.path.startswith(prefix):
                return self._send(call, status, {"detail": f"refused with {status}"})
        parts = call.path.strip("/").split("/")
        if parts[1] == "artifacts":
            return self._artifact(call, parts[2])
        if call.path == "/v1/workers":
            self.n_registrations += 1
            self.workers["wrk_1"] = body
            devices = [{"id": f"dev_{d['name']}", "name": d["name"]} for d in body["devices"]]
            answer = {"id": "wrk_1", "devices": devices, "heartbeat_s": self.heartbeat_s}
            return self._send(call, 201, {**answer, "lease_s": 30.0})
        if call.path == "/v1/leases":
            return self._lease(call, body)
        lease = self.leases[parts[2]]
        if body["token"] != lease["token"]:
            return self._send(call, 409, {"detail": "somebody else's"})
        if parts[3] == "heartbeat":
            self.heartbeats.append(body["progress"])
            is_cancelled = parts[2] in self.cancelled
            return self._send(call, 200, {"expires_in_s": 30.0, "is_cancelled": is_cancelled})
        self.events.put((parts[3], parts[2], body.get(parts[3])))
        return self._send(call, 204, None)

    def _lease(self, call: Any, body: dict[str, Any]) -> None:
        if body["worker_id"] not in self.workers:
            return self._send(call, 404, {"detail": "unknown worker"})
        try:
            job = self.jobs.get(timeout=min(0.3, body["wait_s"]))
        except queue.Empty:
            return self._send(call, 204, None)
        name = f"lse_{len(self.leases) + 1}"
        lease = {"id": name, "token": f"token-{name}", "expires_in_s": 30.0, "job": job}
        self.leases[name] = lease
        return self._send(call, 200, lease)

    def _artifact(self, call: Any, sha256: str) -> None:
        if sha256 not in self.shelf.files:
            return self._send(call, 404, {"detail": "no such artifact"})
        data = self.shelf.files[sha256]
        asked = call.headers.get("Range")
        self.ranges.append(asked)
        first = int(asked[len("bytes=") : -1]) if asked else 0
        call.send_response(206 if asked else 200)
        if asked:
            call.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        call.send_header("Content-Length", str(len(data) - first))
        call.end_headers()
        cut = self.cut_after.pop(sha256, None)
        call.wfile.write(data[first:] if cut is None else data[first:cut])
        if cut is not None:
            call.wfile.flush()
            call.close_connection = True

    def _send(self, call: Any, status: int, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        call.send_response(status)
        if status != 204:
            call.send_header("Content-Length", str(len(data)))
        call.end_headers()
        call.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def wait_until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


class Worker:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "worker.log"
        self.command = [sys.executable, "-m", "stillhouse_benchmark"]
        self.process: subprocess.Popen[bytes] | None = None
        self.extra_environment: dict[str, str] = {}

    def start(self, url: str, *extra: str) -> None:
        command = [*self.command, "--server", url]
        command += ["--device", "CPU", "--host", "edge", "--cache-dir", str(self.folder / "cache")]
        command += ["--lock-dir", str(self.folder / "locks"), *extra]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment())

    def environment(self) -> dict[str, str]:
        here = str(Path(__file__).parent)
        known = os.environ.get("PYTHONPATH")
        path = os.pathsep.join([here, *([known] if known else [])])
        return {**os.environ, "PYTHONPATH": path, **self.extra_environment}

    def children(self) -> list[int]:
        assert self.process is not None
        told = Path(f"/proc/{self.process.pid}/task")
        pids: list[int] = []
        for task in told.iterdir():
            pids += [int(pid) for pid in (task / "children").read_text().split()]
        return pids

    def end(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    started = Worker(tmp_path)
    yield started
    if started.process is not None and started.process.poll() is None:
        started.process.kill()
        started.process.wait()


@pytest.fixture
def model() -> Callable[..., bytes]:
    """Builds ONNX from nodes and weights."""

    def build(*arguments: Any) -> bytes:
        return model_bytes(*arguments)

    return build
