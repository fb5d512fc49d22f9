"""Lists: filters, orders, and pages that stay right while others write."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse import Client

on_both = pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
OUTSIDE = {
    "name": "outside",
    "runner": "outside",
    "parameters": [{"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5}],
    "objectives": ["loss"],
    "constraints": ["size <= 5"],
    "budget": {"trials": 1000},
}


def _study(server: Any, **changes: Any) -> str:
    made = server.http.post("/v1/studies", json=OUTSIDE | changes)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _import(server: Any, study: str, losses: list[float], size: float = 1.0) -> None:
    trials = [{"config": {"x": 0.5}, "metrics": {"loss": loss, "size": size}} for loss in losses]
    path = f"/v1/studies/{study}/trials/import"
    assert server.http.post(path, json={"trials": trials}).status_code == 201


def _ids(server: Any, path: str, **query: Any) -> list[str]:
    """Every item's id, page by page."""
    found, token = [], None
    while True:
        asked = query | ({"page_token": token} if token else {})
        answer = server.http.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        found += [item["id"] for item in answer.json()["items"]]
        token = answer.json()["next_page_token"]
        if token is None:
            return found


@on_both
def test_studies_are_found_by_state_name_device_and_time(server: Any) -> None:
    ours = server.study(name="Digits 100%")
    other = _study(server, name="digits_a")
    third = _study(server, name="Another")
    server.http.post(f"/v1/studies/{third}/cancel")
    path = "/v1/studies"
    assert _ids(server, path) == [third, other, ours]
    assert _ids(server, path, page_size=1, order="created") == [ours, other, third]
    assert _ids(server, path, page_size=1, order="name") == [third, ours, other]
    assert _ids(server, path, page_size=1, order="-name") == [other, ours, third]
    assert _ids(server, path, name="DIGITS") == [other, ours]
    assert _ids(server, path, name="0%") == [ours]  # no wildcard of the database's
    assert _ids(server, path, name="s_a") == [other]
    assert _ids(server, path, device="CPU") == [ours]
    assert _ids(server, path, state=["running", "cancelled"]) == [third, other]
    at = server.get(f"/v1/studies/{other}")["created_at"]
    assert _ids(server, path, created_after=at) == [third]
    assert _ids(server, path, created_before=at) == [ours]
    for query in (
        {"state": "asleep"},
        {"order": "size"},
        {"created_after": "2026-01-01T00:00:00"},  # of which zone?
        {"created_after": "0001-01-01T00:00:00+14:00"},
        {"page_token": "x"},
    ):
        assert server.http.get(path, params=query).status_code == 422, query
    token = server.http.get(path, params={"page_size": 1}).json()["next_page_token"]
    answer = server.http.get(path, params={"page_token": token, "order": "name"})
    assert answer.status_code == 422  # of another order


@on_both
def test_a_study_is_the_same_in_a_list(server: Any) -> None:
    best = _study(server)
    _import(server, best, [0.3, 0.2, 0.4])
    _import(server, best, [0.1], size=9.0)
    _study(server, name="nothing yet")
    answer = server.http.post(f"/v1/studies/{_study(server)}/ask", json={"n": 1})
    assert len(answer.json()["items"]) == 1
    server.study()
    listed = server.get("/v1/studies")["items"]
    assert [one["counts"]["feasible"] for one in listed] == [0, 0, 0, 3]
    assert [one["incumbent"] is None for one in listed] == [True, True, True, False]
    assert listed == [server.get(f"/v1/studies/{one['id']}") for one in listed]


@on_both
def test_trials_are_found_by_state_and_limit_and_ordered_by_a_metric(server: Any) -> None:
    study = _study(server)
    path = f"/v1/studies/{study}/trials"
    _import(server, study, [0.3, 0.1, -2.0, 0.1])
    _import(server, study, [0.05], size=9.0)
    server.http.post(f"/v1/studies/{study}/ask", json={})
    ids = _ids(server, path)
    assert len(ids) == 6
    assert _ids(server, path, order="-number", page_size=2) == ids[::-1]
    in_order = [ids[2], ids[4], ids[1], ids[3], ids[0]]
    for size in (1, 2, 5):
        assert _ids(server, path, order="loss", page_size=size) == in_order
        assert _ids(server, path, order="-loss", page_size=size) == in_order[::-1]
    assert _ids(server, path, is_feasible=True) == ids[:4]
    assert _ids(server, path, is_feasible=False) == [ids[4]]
    assert _ids(server, path, state="asked") == [ids[5]]
    assert _ids(server, path, order="nobody_measured_this") == []
    assert server.http.get(path, params={"order": "a b"}).status_code == 422


def test_lists_are_narrowed_from_client_and_command_line(at: Any, server: Any) -> None:
    one, two = _study(server, name="one"), _study(server, name="two")
    server.http.post(f"/v1/studies/{two}/pause")
    _import(server, one, [0.3, 0.1])
    _import(server, one, [0.2], size=9.0)
    with Client(server.url) as client:
        assert [study.id for study in client.studies.list(["paused", "cancelled"])] == [two]
        assert [study.id for study in client.studies.list(name="ON")] == [one]
        best = client.studies.trials(one, is_feasible=True, order="loss")
        assert [trial.number for trial in best] == [1, 0]
    status, said, _ = at("study", "list", "--state", "paused", "--json")
    assert status == 0 and [study["id"] for study in json.loads(said)] == [two]
    status, said, _ = at("trial", "list", one, "--no-feasible", "--order", "-loss", "--json")
    assert status == 0 and [trial["number"] for trial in json.loads(said)] == [2]


_losses = st.lists(st.sampled_from([0.1, 0.2, 0.30000000000000004, 1e-9, 5.0]), min_size=1)


@on_both
def test_pages_stay_right_while_others_write(server: Any) -> None:
    numbers = itertools.count()

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        losses=_losses,
        added=st.lists(_losses, max_size=3),
        size=st.integers(1, 4),
        order=st.sampled_from(["number", "-number", "loss", "-loss"]),
    )
    def walk(losses: list[float], added: list[list[float]], size: int, order: str) -> None:
        study = _study(server, name=f"study {next(numbers)}")
        path = f"/v1/studies/{study}/trials"
        _import(server, study, losses)
        there = [(t["id"], t["number"], t["metrics"]["loss"]) for t in server.get(path)["items"]]
        found, token, left = [], None, list(added)
        while True:
            asked = {"order": order, "page_size": size} | ({"page_token": token} if token else {})
            page = server.http.get(path, params=asked).json()
            found += [item["id"] for item in page["items"]]
            token = page["next_page_token"]
            if token is None:
                break
            if left:
                _import(server, study, left.pop())
        wanted = sorted(there, key=lambda t: t[1] if order.endswith("number") else t[2:] + t[1:2])
        if order.startswith("-"):
            wanted.reverse()
        known = {one for one, _, _ in there}
        assert len(found) == len(set(found))
        assert [one for one in found if one in known] == [one for one, _, _ in wanted]

    walk()
