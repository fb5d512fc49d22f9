"""Long work behind a 202: asked after, waited for, told once."""

import threading
from typing import Any

import pytest

from stillhouse import Client, ProblemError
from stillhouse_service.errors import Conflict
from stillhouse_service.operations import Operations


def test_a_large_studys_importance_and_report_are_made_behind_a_202(
    serve: Any, connect: Any
) -> None:
    server = serve(n_trials_large=1)
    study = server.study(budget={"trials": 2})
    connect(server).play(server, study, [0.5, 0.6])
    path = f"/v1/studies/{study}/importance"
    begun = server.http.get(path)
    assert begun.status_code == 202
    where = begun.headers["location"]
    assert where == f"/v1/operations/{begun.json()['id']}"
    again = server.http.get(path)  # not begun twice; it may be done by now
    assert again.status_code == 200 or again.json()["id"] == begun.json()["id"]
    known = {"If-None-Match": begun.headers.get("etag", '"none"')}
    while True:  # a 304: a slow machine takes longer than the wait
        told = server.http.get(f"{where}?wait=5", headers=known)
        if told.status_code == 200 and (now := told.json())["state"] != "running":
            break
        known = {"If-None-Match": server.http.get(where).headers["etag"]}
    assert now["state"] == "done"
    made = server.get(now["result"])
    assert made["n_trials"] == 2
    assert server.http.get(path).status_code == 200  # it is there now
    assert server.get(path) == made
    with Client(server.url) as client:
        assert client.studies.importance(study).n_trials == 2
        assert client.studies.report(study).lstrip().startswith("<!")
        with pytest.raises(ProblemError, match="no study"):
            client.studies.importance("std_none")
    assert server.http.get("/v1/operations/opn_none").status_code == 404


def test_work_under_way_has_no_result_and_failed_work_says_why() -> None:
    rung, may_end = threading.Event(), threading.Event()
    operations = Operations(rung.set)

    def wait() -> tuple[bytes, str]:
        assert may_end.wait(20)
        raise Conflict("no network")

    one = operations.start("report", "std_1", 1, wait)
    assert operations.start("report", "std_1", 1, wait).id == one.id
    with pytest.raises(Conflict, match="is running"):
        operations.result(one.id)
    may_end.set()
    assert rung.wait(20)
    assert (operations.named(one.id).state, operations.named(one.id).error) == (
        "failed",
        "no network",
    )
    with pytest.raises(Conflict, match="is failed: no network"):
        operations.result(one.id)
    again = operations.start("report", "std_1", 1, lambda: (b"page", "text/html"))
    assert again.id != one.id  # what has failed is tried again
    operations.stop()
