"""Stage 1c in words: what an experiment's figures mean, negative findings included.

Depends on: nothing; a pure function of what experiment_analysis.py found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

# What is not worth talking about, and where a group's verdict is drawn.
WORTH = 0.02
Gain = Literal["yes", "no", "open"]
_GAINS: tuple[Gain, ...] = get_args(Gain)


def conclusions(found: Mapping[str, Any]) -> list[str]:
    """Say what the figures mean, negative findings included, each only as far as they carry."""
    said = [_said_of_noise(found["noise"])]
    if all(one["algorithm"] == "none" for one in found["algorithms"]):
        return said  # nothing was pruned: there is nothing to compare
    said += [_said_of_masked(found["kinds"]["masked"]), _said_of_removed(found["kinds"]["removed"])]
    gained = [one for one in found["algorithms"] if one["n_faster"] and not one["is_control"]]
    idle = [
        one["algorithm"]
        for one in found["algorithms"]
        if one["n_measured"] and not one["n_faster"] and one["algorithm"] != "none"
    ]
    feasible = [one for one in gained if one["best"] is not None]
    if feasible:
        best = min(feasible, key=lambda one: float(one["best"]["ratio"]))
        said.append(
            f"The fastest trial that keeps the limits is {best['best']['case']}: ratio "
            f"{best['best']['ratio']:.3f} ({best['best']['low']:.3f} to "
            f"{best['best']['high']:.3f})."
        )
    elif found["n_measured"]:
        said.append("No trial was faster than the baseline and kept the limits.")
    if idle:
        said.append(f"No trial of these was distinguishably faster: {', '.join(idle)}.")
    said += _said_of_control(found["algorithms"])
    said += _said_of_layers(found["layers"])
    said += _said_of_correlations(found["correlations"])
    if found["n_failed"]:
        said.append(f"{found['n_failed']} of {found['n_trials']} trials have no result.")
    return [sentence for sentence in said if sentence]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _said_of_noise(noise: Mapping[str, Any]) -> str:
    if noise["interval_width"] is None:
        return "Nothing was measured."
    text = (
        f"The baseline against itself differed by {_percent(noise['aa_deviation'])} in the median; "
        f"a ratio's 95 % interval is {noise['interval_width']:.3f} wide: smaller changes cannot be "
        "told from noise here."
    )
    if any(one["is_distinguishable"] for one in noise["unchanged"]):
        text += (
            " The unchanged network itself seemed to differ: the device was not quiet, so take "
            "small changes with care."
        )
    return text


def _said_of_masked(masked: Mapping[str, Any]) -> str:
    n, low, high = masked["n_measured"], masked["mean_low"], masked["mean_high"]
    if n == 0:
        return "No trial left zeros in place without removing anything."
    mean = masked["mean_ratio"]
    figures = f"{n} trials with masked zeros, mean ratio {mean:.3f}"
    if low is None:
        return f"{figures}: too few to say whether masked zeros change latency."
    figures += f" ({low:.3f} to {high:.3f}), {masked['n_faster']} of them distinguishably faster"
    if low > 1.0 - WORTH:
        return f"Masked zeros do not speed up this device: {figures}."
    if high < 1.0 - WORTH:
        return f"Masked zeros do speed up this device: {figures}."
    return f"Whether masked zeros speed up this device stays open: {figures}."


def _said_of_removed(removed: Mapping[str, Any]) -> str:
    n, low, high = removed["n_measured"], removed["mean_low"], removed["mean_high"]
    if n == 0:
        return "No trial removed a filter or channel."
    figures = f"{n} trials that removed filters or channels, mean ratio {removed['mean_ratio']:.3f}"
    figures += "" if low is None else f" ({low:.3f} to {high:.3f})"
    figures += f", {removed['n_faster']} of them distinguishably faster"
    if removed["n_faster"] == 0:
        return f"Removed filters did not make this device distinguishably faster: {figures}."
    if low is not None and high < 1.0 - WORTH:
        return f"Removed filters do speed up this device: {figures}."
    return f"Removed filters speed up this device in some trials: {figures}."


def _said_of_control(algorithms: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    control = next((a for a in algorithms if a["is_control"] and a["domain"] == "filter"), None)
    ranked = [a for a in algorithms if a["domain"] == "filter" and not a["is_control"]]
    if control is None or control["median_drop"] is None or not ranked:
        return
    better = [
        a["algorithm"]
        for a in ranked
        if a["median_drop"] is not None and a["median_drop"] < control["median_drop"]
    ]
    text = f"Against filters drawn at random (median Top-1 lost {_percent(control['median_drop'])})"
    if better:
        yield f"{text}, these kept more accuracy in the median: {', '.join(better)}."
    else:
        yield f"{text}, no ranking kept more accuracy in the median."


def _said_of_layers(layers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    tried = [row for row in layers if row["gain"] is not None]
    if not tried:
        return
    of = {known: [row["layer"] for row in tried if row["gain"] == known] for known in _GAINS}
    names = f": {', '.join(of['yes'])}" if of["yes"] else ""
    yield (
        f"Cut alone, {len(of['yes'])} of {len(tried)} layers made the whole network "
        f"distinguishably faster{names}."
    )
    if of["no"]:
        yield f"Not worth compressing by itself: {', '.join(of['no'])}."
    if of["open"]:
        yield (
            f"Too small a gain for this device's noise, if there is one, when cut alone: "
            f"{', '.join(of['open'])}."
        )


def _said_of_correlations(correlations: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in correlations:
        if one["trials"] == "masked" and one["of"] != "nonzero_share":
            continue  # nothing of theirs varies but the zeros
        if one["rho"] is None or one["of"] == "param_share":
            continue
        sure = "" if one["low"] > 0 or one["high"] < 0 else "; it may as well be none"
        yield (
            f"Among {one['n']} trials ({one['trials']}), rank correlation of {one['label']} with "
            f"latency: {one['rho']:.2f} ({one['low']:.2f} to {one['high']:.2f}){sure}."
        )
