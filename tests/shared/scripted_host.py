"""A device host that says what it is told to say, over real HTTP."""

from typing import Any

import httpx
from scripted_servers import NO_TLS, Scripted, Server


class Host:
    """A device host that says what it is told to say, over real HTTP."""

    def __init__(self, server: Scripted, name: str = "edge-1", kind: str = "CPU") -> None:
        self.http = httpx.Client(
            base_url=server.url,
            headers={"Stillhouse-Protocol": "1"},
            timeout=30,
            verify=NO_TLS,
        )
        self.name = name
        self.spread = 0.01  # of the intervals of the ratios it tells
        self.device = {
            "name": kind,
            "kind": kind,
            "full_name": "A device",
            "runtime": "openvino",
            "runtime_version": "2026.0.0",
            "precisions": ["f32"],
            "max_opset": 21,
            "host": name,
            "capabilities": ["benchmark"],
        }
        self.register()

    def register(self) -> dict[str, Any]:
        body = {"name": self.name, "version": "0.1.0", "devices": [self.device]}
        answer = self.http.post("/v1/workers", json=body)
        assert answer.status_code == 201, answer.text
        known: dict[str, Any] = answer.json()
        self.worker_id, self.device_id = known["id"], known["devices"][0]["id"]
        return known

    def ask(self, wait_s: float = 0.0) -> httpx.Response:
        ids = {"worker_id": self.worker_id, "device_id": self.device_id}
        return self.http.post("/v1/leases", json={**ids, "wait_s": wait_s})

    def lease(self, wait_s: float = 10.0) -> dict[str, Any]:
        answer = self.ask(wait_s)
        assert answer.status_code == 200, answer.text
        lease: dict[str, Any] = answer.json()
        return lease

    def tell(self, lease: dict[str, Any], verb: str, **body: Any) -> httpx.Response:
        return self.http.post(
            f"/v1/leases/{lease['id']}/{verb}", json={"token": lease["token"], **body}
        )

    def fail(self, lease: dict[str, Any], failure_class: str, **more: Any) -> httpx.Response:
        failure = {"class": failure_class, "stage": "compile", "reason": "it was so", **more}
        return self.tell(lease, "failure", failure=failure)

    def measure(
        self,
        lease: dict[str, Any],
        ratio: float = 1.0,
        n_correct: int = 294,
        n_baseline: int = 294,
        is_judged: bool = True,
    ) -> httpx.Response:
        result = self.measured(ratio, n_correct, n_baseline)
        if not is_judged:
            result["accuracy"] = None
        return self.tell(lease, "result", result=result)

    def measured(
        self, ratio: float = 1.0, n_correct: int = 294, n_baseline: int = 294
    ) -> dict[str, Any]:
        """What it would report."""
        return made_up_result(ratio, n_correct, n_baseline, self.spread)

    def play(self, server: Server, study_id: str, ratios: list[float]) -> None:
        """Play compute and device until the study is over.

        Args:
            server: Where it runs.
            study_id: The study.
            ratios: Of the trials, in order; a trial measured again gives the same.
        """
        left, told = iter(ratios), {}
        while server.get(f"/v1/studies/{study_id}")["state"] in ("checking", "running"):
            server.compute_all()
            answer = self.ask(wait_s=0.2)
            if answer.status_code != 200:
                continue
            lease = answer.json()
            candidate, baseline = lease["job"]["candidate"], lease["job"]["baseline"]
            key = candidate["sha256"]
            if key not in told:
                told[key] = 1.0 if candidate == baseline else next(left)
            self.measure(lease, told[key])


def made_up_result(
    ratio: float = 1.0, n_correct: int = 294, n_baseline: int = 294, spread: float = 0.01
) -> dict[str, Any]:
    """A result of 300 images; the baseline takes 2 ms, intervals reach as far as `spread`."""

    def timing(p50_ms: float) -> dict[str, float]:
        names = ("p25_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "cpu_p50_ms")
        return {name: p50_ms for name in names} | {
            "sd_ms": 0.1,
            "n_runs": 200,
            "throughput_per_s": 1000 / p50_ms,
        }

    def counts(n: int) -> dict[str, int]:
        return {"n_images": 300, "top1_correct": n, "top5_correct": 300}

    agreement = {"max_abs": 1e-5, "max_rel": 1e-4, "top1_agreement": 1.0}
    return {
        "candidate": timing(2.0 * ratio),
        "baseline": timing(2.0),
        "latency_ratio": ratio,
        "latency_ratio_low": ratio * (1.0 - spread),
        "latency_ratio_high": ratio * (1.0 + spread),
        "is_distinguishable": ratio != 1.0,
        "aa_ratio": 1.0,
        "is_gate_passed": True,
        "n_attempts": 1,
        "accuracy": {
            "candidate": counts(n_correct),
            "baseline": counts(n_baseline),
            "n_disagree_candidate_only": 0,
            "n_disagree_baseline_only": n_baseline - n_correct if n_correct < n_baseline else 0,
        },
        "agreement": {"candidate": agreement, "baseline": agreement},
        "layers": [
            {"layer": "conv1", "type": "Convolution", "candidate_ms": 0.1, "baseline_ms": 0.2}
        ],
        "host": {
            "cpu_model": "A processor",
            "n_cpus": 2,
            "load_1m": 0.1,
            "runtime": "openvino",
            "runtime_version": "2026.0.0",
            "temperature_c": None,
        },
        "duration_s": 1.0,
    }
