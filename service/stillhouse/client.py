"""The way into a Stillhouse server from Python.

Depends on: httpx.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

import httpx

from stillhouse.errors import ConnectionFailed
from stillhouse.experiments import Experiments
from stillhouse.resources import Artifacts, Baselines, Catalogue, Studies, TrialsById, Webhooks
from stillhouse.transport import Transport


class Client:
    """One server; close it, or use it in a `with`.

    Attributes:
        url: The server's address.
        models: Networks that it can build.
        datasets: Data sets that it has.
        devices: Devices that hosts have offered it.
        baselines: Networks to compress.
        studies: Searches for the best schedule.
        experiments: Stages of the research plan: cases instead of a search.
        trials: Their trials, by id.
        artifacts: Stored bytes, by SHA-256.
        webhooks: Addresses that it tells of events.

    Example:
        with Client("http://127.0.0.1:8321") as client:
            study = client.studies.wait("std_0123456789abcdef")
            print(study.incumbent)
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        """Point at a server; nothing is sent yet.

        Args:
            url: `http://host:port`, with or without a path in front of `/v1`.
            token: Sent as `Authorization: Bearer`; else `STILLHOUSE_TOKEN` of the environment.
            timeout_s: Longest wait for one answer.
            http: Sends the requests instead of a new httpx client; its base URL must be the
                server's.

        Raises:
            ConnectionFailed: `url` is no address of a web server.
        """
        if not url.startswith(("http://", "https://")):
            raise ConnectionFailed(f"wanted an address like http://host:8470, got {url!r}")
        self.url = url.rstrip("/")
        token = token or os.environ.get("STILLHOUSE_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = http or httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)
        self._transport = Transport(self._http)
        self.models = Catalogue(self._transport, "models")
        self.datasets = Catalogue(self._transport, "datasets")
        self.devices = Catalogue(self._transport, "devices")
        self.baselines = Baselines(self._transport)
        self.studies = Studies(self._transport)
        self.experiments = Experiments(self._transport)
        self.trials = TrialsById(self._transport)
        self.artifacts = Artifacts(self._transport)
        self.webhooks = Webhooks(self._transport)

    def health(self) -> dict[str, Any]:
        """Say that the server is alive, and which version it is.

        Raises:
            ConnectionFailed: It is not.
        """
        answer = self._transport.get("/healthz")
        return dict(answer)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
