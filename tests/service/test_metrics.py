"""`/metrics` over real HTTP, read with Prometheus' own parser and compared with what was done."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stillhouse_service.metrics import BOUNDS_S, Metrics

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
MANUAL = Path(__file__).parents[2] / "docs" / "operations.md"
# What this process alone counts; other tests of the process have counted, too.
OWN = ("stillhouse_request_seconds", "stillhouse_proposal_seconds", "process_")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def _parsed(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class _Scrape:
    """One look at a server."""

    def __init__(self, server: Any) -> None:
        server.app.state.metrics._last = (float("-inf"), b"")  # not what was told a moment ago
        answer = server.http.get("/metrics")
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.text = answer.text
        self.samples = _parsed(answer.text)

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of all samples of a name that have these labels."""
        found = [
            value
            for (one, its_labels), value in self.samples.items()
            if one == name and labels.items() <= dict(its_labels).items()
        ]
        assert found, f"{name} {labels} is not there"
        return sum(found)

    def of_database(self) -> Samples:
        """What must be the same whichever server tells it."""
        return {
            key: value
            for key, value in self.samples.items()
            if not key[0].startswith(OWN) and "silence" not in key[0]
        }


def _told_names(text: str) -> set[str]:
    found = {match[1] for match in re.finditer(r"^# TYPE (\S+) ", text, re.M)}
    return {name for name in found if not name.startswith("process_")}


@on_both
def test_what_was_done_is_told(server: Any, connect: Any) -> None:
    host = connect(server, "edge-7")
    study = server.study(budget={"trials": 2})
    host.measure(host.lease())  # the check of the baseline
    leases: list[Any] = []
    while len(leases) < 2:
        server.compute_all()
        answer = host.ask(wait_s=0.2)
        if answer.status_code == 200:
            leases.append(answer.json())
            if len(leases) == 1:
                host.measure(leases[0], ratio=0.5)
            else:
                host.fail(leases[1], "mismatch")
    scrape = _Scrape(server)
    counts = server.get(f"/v1/studies/{study}")["counts"]
    assert scrape("stillhouse_trials") == sum(counts[one] for one in ("complete", "failed"))
    assert scrape("stillhouse_trials", state="failed", failure_class="mismatch") == 1
    assert scrape("stillhouse_studies", state="running") == 1
    assert scrape("stillhouse_studies") == 1
    assert scrape("stillhouse_device_live", host="edge-7", kind="CPU") == 1
    assert scrape("stillhouse_device_hosts", state="live") == 1
    benchmarks = {"lane": "device", "kind": "benchmark"}
    name = "stillhouse_stage_seconds_count"
    assert scrape(name, **benchmarks, outcome="succeeded") == 1
    assert scrape(name, **benchmarks, outcome="failed") == 1
    assert scrape(name, lane="compute", outcome="succeeded") == 3  # the baseline, two trials


def test_the_manual_lists_every_metric_and_no_other(server: Any) -> None:
    section = MANUAL.read_text().split("<!-- metrics -->")[1]
    listed = set(re.findall(r"^\| `(stillhouse_\w+)", section, re.M))
    assert listed == _told_names(_Scrape(server).text)


@on_both
def test_what_was_counted_bit_by_bit_is_what_a_new_server_counts(serve: Any, connect: Any) -> None:
    first = serve()
    first_look = _Scrape(first)
    host = connect(first)
    study = first.study(budget={"trials": 2})
    host.measure(host.lease())
    _Scrape(first)
    host.play(first, study, [0.9, 0.8])
    lost = first.study()
    lease = host.lease()
    host.tell(lease, "release")
    host.lease()
    counted = _Scrape(first)
    assert counted.of_database() != first_look.of_database()
    anew = Metrics(first.store, first.settings, lambda: (0, 0)).text().decode()
    name = "stillhouse_stage_seconds"
    bit_by_bit = {key: v for key, v in counted.samples.items() if key[0].startswith(name)}
    at_once = {key: v for key, v in _parsed(anew).items() if key[0].startswith(name)}
    assert at_once.keys() == bit_by_bit.keys()
    for key, value in at_once.items():
        # SQLite's days are of whole milliseconds, and several attempts are added up.
        assert bit_by_bit[key] == pytest.approx(value, abs=5e-3), key
    trials = {key: v for key, v in counted.samples.items() if key[0] == "stillhouse_trials"}
    assert trials == {key: v for key, v in _parsed(anew).items() if key[0] == "stillhouse_trials"}
    assert len(BOUNDS_S) + 1 == len({dict(k[1])["le"] for k in at_once if k[0].endswith("_bucket")})
    first.http.post(f"/v1/studies/{lost}/cancel")
    first.stop()
    second = serve()
    after = _Scrape(second)
    assert after("stillhouse_trials", state="complete") == 2
    assert after("stillhouse_stage_seconds_count") == counted("stillhouse_stage_seconds_count") + 1


def test_the_age_of_a_queue_is_counted_from_when_a_stage_could_be_handed_out(
    server: Any, connect: Any
) -> None:
    host = connect(server)
    assert _Scrape(server)("stillhouse_queue_age_seconds", lane="device") == 0
    server.study()
    with server.store.begin() as work:
        (stage,) = work.stages.waiting("device", work.now, 10)
        stage.available_at -= timedelta(seconds=1000)
        stage.created_at -= timedelta(seconds=5000)
    scrape = _Scrape(server)
    assert scrape("stillhouse_stages_waiting", lane="device") == 1
    assert scrape("stillhouse_queue_age_seconds", lane="device") == pytest.approx(1000, abs=60)
    lease = host.lease()
    assert _Scrape(server)("stillhouse_stages_running", lane="device", kind="check") == 1
    host.tell(lease, "release")  # it has not waited while somebody had it
    assert _Scrape(server)("stillhouse_queue_age_seconds", lane="device") < 60


def test_a_device_is_busy_while_it_holds_a_lease(server: Any, connect: Any) -> None:
    host = connect(server)
    server.study()
    lease = host.lease()
    with server.store.begin() as work:
        work.stages.attempt(lease["id"]).started_at -= timedelta(seconds=500)
    name = "stillhouse_device_busy_seconds_total"
    held = _Scrape(server)(name)
    assert held == pytest.approx(500, abs=60)
    host.measure(lease)
    ended = _Scrape(server)(name)
    assert ended >= held
    assert _Scrape(server)(name) == ended


def test_the_noise_floor_is_the_most_that_a_network_differed_from_itself(
    server: Any, connect: Any, result: Any
) -> None:
    host = connect(server)
    for ratio in (0.96, 1.01):
        server.study()
        host.tell(host.lease(), "result", result={**result(), "aa_ratio": ratio})
    assert _Scrape(server)("stillhouse_device_noise_floor_ratio") == pytest.approx(0.04)


def test_requests_are_told_by_route_however_many_paths_are_tried(server: Any) -> None:
    def n(**labels: str) -> float:
        name, samples = "stillhouse_request_seconds_count", _Scrape(server).samples
        return sum(
            value
            for (one, its), value in samples.items()
            if one == name and labels.items() <= dict(its).items()
        )

    route = {"method": "GET", "route": "/v1/studies/{study_id}"}
    before = n(**route, status="404"), n(route="unmatched")
    for i in range(3):
        server.http.get(f"/v1/studies/std_{i}")
        server.http.get(f"/nowhere/{i}")
    assert (n(**route, status="404"), n(route="unmatched")) == (before[0] + 3, before[1] + 3)
    text = _Scrape(server).text
    assert "std_1" not in text and "nowhere" not in text


def test_waiting_for_news_is_not_counted_as_time_to_answer(server: Any) -> None:
    study = server.study()
    path = f"/v1/studies/{study}"
    route = {"method": "GET", "route": "/v1/studies/{study_id}", "status": "200"}
    known = server.http.get(path).headers["etag"]

    def n_slow() -> float:
        scrape, name = _Scrape(server), "stillhouse_request_seconds"
        return scrape(f"{name}_count", **route) - scrape(f"{name}_bucket", **route, le="1.0")

    before = n_slow()
    server.http.get(path, params={"wait": 1.5}, headers={"If-None-Match": known})
    assert n_slow() == before
