"""Everything about the server that its operator may choose.

Depends on: stillhouse_benchmark.logs. Read once, in a `main()` (configuration.py); below that,
settings are an argument.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stillhouse_benchmark.logs import FORMATS, LEVELS
from stillhouse_service.errors import Problem, SpecRejected


@dataclass(frozen=True)
class Settings:
    """How a server runs.

    Attributes:
        database_url: `sqlite:///file.db` or `postgresql://user:password@host/name`.
        artifact_dir: Folder of the artifact store, or a URL that fsspec knows (`s3://bucket/x`);
            shared with every compute worker.
        max_artifact_bytes: Largest file that the store takes.
        min_free_bytes: No compute stage is begun while the store's disk has less left.
        store_patience_s: How long a finished stage waits for a store that is full or gone.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        log_format: `text` for people, `json` for programs: one object a line.
        log_level: Least level that is logged: `debug`, `info`, `warning` or `error`.
        compute: `embedded` (a Dask cluster of one worker process), `none`, or the address of a
            Dask scheduler, `tcp://...` or `tls://...`.
        compute_ca: Certificate of who signs those of a `tls://` cluster, a PEM file.
        compute_cert: This server's certificate there.
        compute_key: The key of that certificate.
        compute_resources: What the embedded worker offers: `GPU=1 GPU_MEMORY=24e9`.
        n_threads: Threads that torch and BLAS may use in a compute worker.
        n_compute: Stages that run at once on compute; 0: one embedded, as many as there are
            workers elsewhere.
        frozen_s: A compute worker that has shown no life for so long is given up.
        lease_s: How long a device host's lease lasts without a heartbeat.
        max_attempts: How often a stage is handed out before its loss counts as failure.
        retry_delay_s: Pause before a stage is handed out again.
        device_ttl_s: A device not heard of for so long is no longer called live.
        progress_s: Shortest time between two stored progress reports of one stage.
        n_trials_watched: How many of a study's last trials are looked at for failures.
        n_failures_to_pause: So many of them, failed for one cause, pause the study.
        max_body_bytes: Largest body of a request.
        rate_per_s: Requests a second that are let in for each token (or, from elsewhere without
            one, each address), twice as many at once; 0 for no limit.
        n_trials_large: A study with more told trials than that is analysed behind a 202.
        webhook_networks: Networks besides the public internet that webhooks may call, as
            `10.0.0.0/8,127.0.0.0/8`; empty for none.
        webhook_retry_s: Pause before a delivery is tried again; doubled each time.
        webhook_tries: How often a delivery is tried before it is given up.
        lock_dir: Folder of the host lock (docs/architecture.md); empty for the default one.
        driver_lease_s: How long the other servers of a Postgres wait for a leading one that shows
            no life before one of them drives; for one that is gone they wait 2 s.
    """

    database_url: str = "sqlite:///stillhouse.db"
    artifact_dir: str | Path = "stillhouse-artifacts"
    max_artifact_bytes: int = 2**31
    min_free_bytes: int = 200_000_000
    store_patience_s: float = 3600.0
    host: str = "127.0.0.1"
    port: int = 8470
    log_format: str = "text"
    log_level: str = "info"
    compute: str = "embedded"
    compute_ca: str = ""
    compute_cert: str = ""
    compute_key: str = ""
    compute_resources: str = ""
    n_threads: int = field(default_factory=lambda: os.cpu_count() or 1)
    n_compute: int = 0
    frozen_s: float = 60.0
    lease_s: float = 30.0
    max_attempts: int = 3
    retry_delay_s: float = 2.0
    device_ttl_s: float = 60.0
    progress_s: float = 1.0
    n_trials_watched: int = 10
    n_failures_to_pause: int = 5
    max_body_bytes: int = 16_000_000
    rate_per_s: float = 100.0
    n_trials_large: int = 200
    webhook_networks: str = ""
    webhook_retry_s: float = 5.0
    webhook_tries: int = 10
    lock_dir: str = ""
    driver_lease_s: float = 10.0

    def __post_init__(self) -> None:
        problems = [
            Problem(name, f"must be {wanted}, got {getattr(self, name)!r}")
            for name, is_good, wanted in (
                ("port", 0 <= self.port < 65536, "a port number"),
                ("n_threads", self.n_threads >= 1, "at least 1"),
                ("n_compute", self.n_compute >= 0, "0 or more"),
                ("frozen_s", self.frozen_s > 0, "above 0"),
                ("max_artifact_bytes", self.max_artifact_bytes >= 1000, "at least 1000"),
                ("min_free_bytes", self.min_free_bytes >= 0, "0 or more"),
                ("store_patience_s", self.store_patience_s >= 0, "0 or more"),
                ("lease_s", self.lease_s > 0, "above 0"),
                ("max_attempts", self.max_attempts >= 1, "at least 1"),
                ("retry_delay_s", self.retry_delay_s >= 0, "0 or more"),
                ("device_ttl_s", self.device_ttl_s > 0, "above 0"),
                ("max_body_bytes", self.max_body_bytes >= 1000, "at least 1000"),
                ("rate_per_s", 0 <= self.rate_per_s < math.inf, "0 or more"),
                ("n_trials_large", self.n_trials_large >= 1, "at least 1"),
                (
                    "webhook_networks",
                    _are_networks(self.webhook_networks),
                    "networks, separated by commas, like 10.0.0.0/8",
                ),
                ("webhook_retry_s", self.webhook_retry_s > 0, "above 0"),
                ("driver_lease_s", self.driver_lease_s >= 1.0, "at least 1"),
                ("webhook_tries", 1 <= self.webhook_tries <= 20, "from 1 to 20"),
                ("n_trials_watched", self.n_trials_watched >= 1, "at least 1"),
                (
                    "n_failures_to_pause",
                    1 <= self.n_failures_to_pause <= max(1, self.n_trials_watched),
                    f"from 1 to n_trials_watched ({self.n_trials_watched})",
                ),
                ("log_format", self.log_format in FORMATS, f"one of {', '.join(FORMATS)}"),
                ("log_level", self.log_level in LEVELS, f"one of {', '.join(LEVELS)}"),
                (
                    "compute",
                    self.compute in ("embedded", "none") or "://" in self.compute,
                    "`embedded`, `none` or the address of a Dask scheduler (`tcp://host:8786`)",
                ),
                (
                    "compute_resources",
                    read_resources(self.compute_resources) is not None,
                    "amounts above 0 by name, such as `GPU=1 GPU_MEMORY=24e9`",
                ),
                *(
                    (name, not is_tls or Path(file).is_file(), "a PEM file, for a tls:// cluster")
                    for is_tls in (self.compute.startswith("tls://"),)
                    for name, file in (
                        ("compute_ca", self.compute_ca),
                        ("compute_cert", self.compute_cert),
                        ("compute_key", self.compute_key),
                    )
                ),
            )
            if not is_good
        ]
        if problems:
            raise SpecRejected(problems)

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        return self.host in ("127.0.0.1", "::1", "localhost")

    @property
    def n_slots(self) -> int:
        """Worker processes of an embedded cluster; stages at once on another."""
        return self.n_compute or 1

    @property
    def embedded_resources(self) -> dict[str, float]:
        """What the embedded worker offers."""
        return read_resources(self.compute_resources) or {}

    @property
    def heartbeat_s(self) -> float:
        """How often a device host is asked to show that it lives."""
        return self.lease_s / 6

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read `STILLHOUSE_<NAME>` for every attribute; what is not set keeps its default.

        Raises:
            SpecRejected: A value is not of the attribute's type or out of range.
        """
        from stillhouse_service.configuration import configured

        return configured(environment=environment).settings


def read_resources(text: str) -> dict[str, float] | None:
    """Read `GPU=1 GPU_MEMORY=24e9` as Dask's resources; none: it is not of that form."""
    found = {}
    for one in text.replace(",", " ").split():
        name, equals, amount = one.partition("=")
        try:
            found[name] = float(amount)
        except ValueError:
            return None
        if not name or not equals or not 0 < found[name] < math.inf:
            return None
    return found


def _are_networks(text: str) -> bool:
    try:
        for one in filter(None, text.split(",")):
            ipaddress.ip_network(one.strip())
    except ValueError:
        return False
    return True
