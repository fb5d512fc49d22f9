"""The page of a study with several objectives that learns from another."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from stillhouse import Client

LIMIT_MS = 60_000
X = {"name": "x", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.0}
SPEC = {
    "name": "two at once",
    "runner": "outside",
    "parameters": [X],
    "objectives": ["latency_ratio", "top1_drop"],
    "constraints": ["top1_drop <= 0.5"],
    "budget": {"trials": 6},
    "optimizer": {"n_initial": 4},
}


def _run(client: Client, **changes: Any) -> str:
    study = client.studies.create(SPEC | changes).id
    while asked := client.studies.ask(study):
        x: Any = asked[0].config["x"]
        client.trials.tell(asked[0], {"latency_ratio": 1 - x / 2, "top1_drop": x**2})
    return study


def test_front_and_sources_are_drawn(site: Any, visit: Callable[..., Page]) -> None:
    with Client(site.url) as client:
        source = _run(client)
        study = _run(client, transfer=[source])
        front = client.studies.front(study)
    page = visit(f"{site.url}/studies/{study}")
    section = page.locator("section", has=page.get_by_role("heading", name="Front", exact=True))
    n, n_all = len(front.points), len(front.json["points"])
    expect(section).to_contain_text(
        f"{n} of {n_all} measured trials are on the front", timeout=LIMIT_MS
    )
    expect(section.locator("svg[tabindex]")).to_have_count(2, timeout=LIMIT_MS)
    learned = page.locator("section", has=page.get_by_role("heading", name="Learns from"))
    expect(learned).to_contain_text(re.compile("6 of 6.*1 of 1"), timeout=LIMIT_MS)
    expect(learned).to_contain_text("ranks agree")
    expect(learned.get_by_role("link")).to_have_attribute("href", f"/studies/{source}")
    one = page.locator("section", has=page.get_by_role("heading", name="What it was made from"))
    expect(one).to_contain_text("Latency ratio, Top-1 lost", timeout=LIMIT_MS)
    page.goto(f"{site.url}/studies/{source}")
    expect(page.locator("h1")).to_contain_text("two at once", timeout=LIMIT_MS)
    expect(page.get_by_role("heading", name="Learns from")).to_be_hidden()
