"""What a report says of a study that learns from others: from made-up JSON and over real HTTP."""

from typing import Any

from stillhouse_service.report import transfer_words
from stillhouse_service.report.proposals import why_proposed
from stillhouse_service.report.transfer_figures import weights_plot

SHARES = {  # of three proposals
    "std_a": [{"latency_ratio": 0.5}, {"latency_ratio": 0.25}, {"latency_ratio": 0.0}],
    "std_b": [{"latency_ratio": 0.25}, {"latency_ratio": 0.5}, {"latency_ratio": 0.75}],
}
SOURCES: list[dict[str, Any]] = [
    {
        "study_id": "std_a",
        "name": "another <b>network</b>",
        "n_trials": 20,
        "n_within": 8,
        "shared": ["x"],
        "only_here": ["y"],
        "weights": {"latency_ratio": 0.0},
        "agreement": {"latency_ratio": -0.125},
    },
    {
        "study_id": "std_b",
        "name": "the same on a stick",
        "n_trials": 30,
        "n_within": 30,
        "shared": ["x", "y"],
        "only_here": [],
        "weights": {"latency_ratio": 0.75},
        "agreement": {"latency_ratio": 0.875},
    },
]
TRANSFER: dict[str, Any] = {
    "study_id": "std_c",
    "sources": SOURCES,
    "history": [
        {"number": 6 + k, "weights": {one: told[k] for one, told in SHARES.items()}}
        for k in range(3)
    ],
}


def test_each_source_is_told_by_what_it_was_worth() -> None:
    first, a, b = transfer_words.sentences(TRANSFER)
    assert first.startswith("In each of 3 proposals")
    assert a == (
        "another <b>network</b> counts nothing for Latency ratio since trial 7; it knows nothing "
        "of 1 parameter of this study."
    )
    assert b == "the same on a stick counts 75 % for Latency ratio."
    assert transfer_words.rows(TRANSFER) == [
        ["another <b>network</b> (std_a)", "8 of 20", "1 of 2", "50 %", "0 %", "25 %", "−0.12"],
        ["the same on a stick (std_b)", "30 of 30", "2 of 2", "25 %", "75 %", "50 %", "+0.88"],
    ]
    assert len(transfer_words.columns(TRANSFER)) == 7
    plot = weights_plot(TRANSFER)
    assert plot is not None
    assert [line["y"] for line in plot["data"]] == [[50, 25, 0], [25, 50, 75]]
    assert [line["x"] for line in plot["data"]] == [[6, 7, 8]] * 2


def test_what_never_counted_is_told() -> None:
    never = {**TRANSFER, "sources": [{**SOURCES[1], "study_id": "std_other"}]}
    assert "never for Latency ratio" in transfer_words.sentences(never)[1]
    early = {**TRANSFER, "history": [], "sources": [{**one, "weights": {}} for one in SOURCES]}
    assert "none of them counts so far" in transfer_words.sentences(early)[0]
    assert [len(row) for row in transfer_words.rows(early)] == [3, 3]
    assert weights_plot(early) is None


def test_a_trial_that_makes_up_for_dropped_sources_says_so() -> None:
    dropped = {"std_a": {"latency_ratio": 0.0}}
    assert "none of the studies that this one learns from" in why_proposed("initial", {}, dropped)
    assert why_proposed("initial", {}, {}).startswith("One of the first trials")


def test_the_servers_own_studies_learn_and_tell_sources_and_priors(
    server: Any, connect: Any, template: str
) -> None:
    host = connect(server)
    ratios = [0.9, 0.5, 0.6, 0.7, 0.8]
    source = server.study(name="earlier", budget={"trials": 5}, optimizer={"n_initial": 5})
    host.play(server, source, ratios)
    believed = template.replace("default: 0.3", "default: 0.3, prior: {center: 0.5, width: 0.1}")
    believed = believed.replace(
        "L1RankedStructureParameterPruner_AGP",
        "!choice {choices: [L1RankedStructureParameterPruner_AGP, "
        "L2RankedStructureParameterPruner_AGP], prior: {L2RankedStructureParameterPruner_AGP: 3}}",
    )
    wrong = believed.replace("AGP: 3}", "AGP: 0}")
    answer = server.http.post("/v1/studies", json=server.spec(template=wrong))
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    path = "template.pruners.filters.class.prior.L2RankedStructureParameterPruner_AGP"
    assert problem["path"] == path
    assert "a weight lies between 1e-6 and 1e6, got 0.0" in problem["message"]

    study = server.study(
        template=believed, budget={"trials": 5}, optimizer={"n_initial": 4}, transfer=[source]
    )
    early = server.http.get(f"/v1/studies/{study}/report", params={"format": "md"})
    assert early.status_code == 200 and "none of them counts so far" in early.text
    host.play(server, study, ratios)
    shown = server.get(f"/v1/studies/{study}")
    parameters = {p["name"]: p for p in shown["parameters"]}
    assert parameters["pruners.filters.class"]["prior"] == {"weights": [1.0, 3.0]}
    assert shown["counts"]["brought"] == 0

    told = server.get(f"/v1/studies/{study}/transfer")
    assert [one["number"] for one in told["history"]] == [3, 4]
    for one in told["history"]:
        assert set(one["weights"][source]) == {"latency_ratio", "top1_drop"}
        assert all(-1.0 <= tau <= 1.0 for tau in one["agreement"][source].values())
    assert told["sources"][0]["agreement"] == told["history"][-1]["agreement"][source]
    assert told["sources"][0]["only_here"] == ["pruners.filters.class"]
    # What compression says of the trial has not replaced it.
    last = server.get(f"/v1/studies/{study}/trials")["items"][4]
    detail = server.get(f"/v1/trials/{last['id']}")
    assert detail["transfer"] == told["history"][-1]["weights"]
    assert detail["schedule"] is not None

    data = server.get(f"/v1/studies/{study}/report?format=json")
    assert data["transfer"] == told
    assert any("it knows nothing of 1 parameter" in note for note in data["notes"])
    markdown, page = (
        server.http.get(f"/v1/studies/{study}/report", params={"format": form}).text
        for form in ("md", "html")
    )
    for text in (markdown, page):
        assert "Learned from other studies" in text
        assert f"earlier ({source})" in text
        assert "5 of 5" in text
        assert "prior: 0.5 ± 0.1" in text
        assert "AGP 1, L2RankedStructureParameterPruner_AGP 3" in text
    assert '"transfer": {"data"' in page
