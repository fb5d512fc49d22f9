"""An experiment's evaluation as tables of text, for a page or for Markdown.

Depends on: wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse_service.report import wording

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        title: Of its section.
        note: What a reader must know.
        columns: Headings; all but the first `n_words` hold numbers.
        rows: Cells.
        n_words: Columns from the left that hold words.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    n_words: int = 1

    def to_markdown(self) -> str:
        """Write it in Markdown."""
        rule = ["---" if i < self.n_words else "---:" for i in range(len(self.columns))]
        lines = [self.columns, tuple(rule), *self.rows]
        return "\n".join("| " + " | ".join(_cell(one) for one in line) + " |" for line in lines)


def tables(evaluation: Json) -> list[Table]:
    """Give every table of one network on one device that holds anything."""
    analysis = evaluation["analysis"]
    found = [
        _baseline(evaluation),
        _trials(evaluation["trials"]),
        _combined(evaluation.get("combined", ())),
        _algorithms(analysis["algorithms"]),
        _kinds(analysis["kinds"]),
        _layers(analysis["layers"]),
        _groups(analysis["groups"]),
        _variance(analysis["variance"]),
        _correlations(analysis["correlations"]),
    ]
    return [table for table in found if table.rows]


def _baseline(evaluation: Json) -> Table:
    measured: Json = evaluation["baseline"] or {}
    names = {
        "p50_ms": "latency p50",
        "p95_ms": "latency p95",
        "validation_top1": "Top-1, validation",
        "validation_top5": "Top-5, validation",
        "params": "parameters",
        "macs": "MACs",
        "model_bytes": "ONNX file",
    }
    shown = {"params": "params", "macs": "macs", "model_bytes": "model_bytes"}
    rows = [
        (label, wording.value(shown.get(name, name), measured[name]))
        for name, label in names.items()
        if name in measured
    ]
    return Table("The baseline on the device", "", ("figure", "value"), rows)


def _trials(trials: Sequence[Json]) -> Table:
    rows = []
    for row in trials:
        kept = {True: "kept", False: "broken", None: wording.NOTHING}[row["is_feasible"]]
        told = row["failure"] or row["state"]
        rows.append(
            (
                str(row["case"]),
                str(row["device"]),
                kept if row["state"] == "complete" else str(told),
                _ratio(row["latency_ratio"], row["latency_ratio_low"], row["latency_ratio_high"]),
                _yes(row["is_distinguishable"]),
                wording.value("top1", row["top1"]),
                wording.value("top1_drop", row["top1_drop"]),
                _percent(row["mac_share"]),
                _percent(row["param_share"]),
                _percent(row["zero_share"]),
            )
        )
    note = (
        "Ratio: candidate to baseline, measured interleaved in one job, with its 95 % interval; "
        "below 1 is faster. Top-1 on the validation split, on which trials are compared. Zeros: "
        "share of the dense weights that are zero but still there."
    )
    columns = ("case", "device", "limits", "ratio", "distinct", "Top-1", "Top-1 lost")
    return Table(
        "Trials", note, (*columns, "MACs left", "parameters left", "zeros"), rows, n_words=3
    )


def _combined(combined: Sequence[Json]) -> Table:
    rows = [
        (
            one["case"],
            one["member"],
            one["verdict"],
            _ratio(one["latency_ratio"], one["latency_ratio_low"], one["latency_ratio_high"]),
            _ratio(
                one["member_latency_ratio"],
                one["member_latency_ratio_low"],
                one["member_latency_ratio_high"],
            ),
            wording.value("top1_drop", one["top1_drop"]),
            wording.value("top1_drop", one["member_top1_drop"]),
        )
        for one in combined
    ]
    columns = ("combination", "fastest member", "against it", "ratio", "member's ratio")
    note = "Faster, slower: the two intervals do not overlap. The member as the sweep measured it."
    return Table(
        "Combined and alone",
        note,
        (*columns, "Top-1 lost", "member's Top-1 lost"),
        rows,
        n_words=3,
    )


def _algorithms(algorithms: Sequence[Json]) -> Table:
    rows = []
    for one in algorithms:
        best: Json = one["best"] or {}
        rows.append(
            (
                one["algorithm"] + (" (control)" if one["is_control"] else ""),
                one["domain"],
                f"{one['n_measured']} of {one['n']}",
                str(one["n_faster"]),
                _ratio(one["mean_ratio"], one["mean_low"], one["mean_high"]),
                wording.value("top1_drop", one["median_drop"]),
                _ratio(best.get("ratio"), best.get("low"), best.get("high")),
                str(best.get("case", wording.NOTHING)),
            )
        )
    columns = ("algorithm", "domain", "measured", "faster", "mean ratio", "median Top-1 lost")
    note = "Faster: the whole interval lies below 1. Best: the fastest of these within the limits."
    return Table("Algorithms", note, (*columns, "best ratio", "best case"), rows, n_words=2)


def _kinds(kinds: Json) -> Table:
    titles = {"masked": "zeros masked, nothing removed", "removed": "filters or channels removed"}
    rows = [
        (
            titles[name],
            str(one["n_measured"]),
            str(one["n_faster"]),
            _ratio(one["mean_ratio"], one["mean_low"], one["mean_high"]),
            _number(one["least_ratio"]),
        )
        for name, one in kinds.items()
        if one["n_measured"]
    ]
    columns = ("trials with", "measured", "faster", "mean ratio", "least ratio")
    return Table("Zeros and cuts", "", columns, rows)


def _layers(layers: Sequence[Json]) -> Table:
    rows = [
        (
            row["layer"],
            row["type"],
            wording.value("params", row["dense_weights"]),
            wording.value("macs", row["dense_macs"]),
            _percent(row["time_share"]),
            _times(row["cut"]),
            _times(row["masked"]),
            _ratio(row["alone_ratio"], row["alone_low"], row["alone_high"]),
            row["gain"] or "not tried alone",
        )
        for row in layers
    ]
    note = (
        "Cut, masked: the layer's own time to the baseline's in the runtime's profile, geometric "
        "mean over the trials that cut it, or only zeroed it. Alone: the whole network's ratio "
        "when this layer alone was cut (a coupled group counts for its first layer); worth it: "
        "yes, that interval lies below 1; no, it rules a gain of 2 % out; open, neither."
    )
    columns = ("layer", "type", "weights", "MACs", "share of time", "cut", "masked")
    return Table("Layer by layer", note, (*columns, "alone", "worth it"), rows, n_words=2)


def _groups(groups: Sequence[Json]) -> Table:
    rows = [
        (
            one["by"],
            one["group"],
            str(one["n_layers"]),
            _times(one["cut"]),
            _times(one["masked"]),
        )
        for one in groups
        if one["cut"]["n"] or one["masked"]["n"]
    ]
    note = "A layer's own time to the baseline's; sizes and positions in thirds."
    columns = ("by", "group", "layers", "cut", "masked")
    return Table("Layers by type, size, position and algorithm", note, columns, rows, n_words=2)


def _variance(variance: Sequence[Json]) -> Table:
    rows = [(one["factor"], str(one["n_groups"]), _percent(one["share"])) for one in variance]
    note = (
        "Share of the variance of log ratios between the groups of each factor; factors overlap, "
        "and a factor of many groups explains more by chance."
    )
    return Table("What the latency varies with", note, ("factor", "groups", "share"), rows)


def _correlations(correlations: Sequence[Json]) -> Table:
    rows = [
        (
            one["label"],
            one["trials"],
            str(one["n"]),
            _ratio(one["rho"], one["low"], one["high"], 2),
        )
        for one in correlations
        if one["rho"] is not None
    ]
    note = "Spearman's rank correlation with the latency ratio, with its 95 % interval."
    return Table("Correlations", note, ("of", "trials", "n", "rank correlation"), rows, n_words=2)


def _times(one: Json) -> str:
    if not one["n"]:
        return wording.NOTHING
    return f"{_ratio(one['ratio'], one['low'], one['high'], 2)}, n = {one['n']}"


def _ratio(mean: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    if mean is None:
        return wording.NOTHING
    text = f"{mean:.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def _number(value: float | None) -> str:
    return wording.NOTHING if value is None else f"{value:.3f}"


def _percent(share: float | None) -> str:
    return wording.NOTHING if share is None else f"{100 * share:.1f} %"


def _yes(is_so: bool | None) -> str:
    return {True: "yes", False: "no", None: wording.NOTHING}[is_so]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
