"""Why a trial was proposed, in one sentence.

Depends on: wording, stillhouse_optimizer's plain half.
"""

from __future__ import annotations

from collections.abc import Mapping

from stillhouse_optimizer.stopping import promised_gain
from stillhouse_service.report import wording

_CHANCES = {"p_feasible": "to keep the limits", "p_success": "to run at all"}


def why_proposed(
    origin: str, prediction: Mapping[str, float], of_sources: Mapping[str, object] | None = None
) -> str:
    """Say why a trial was proposed and what the model expected of it.

    Args:
        origin: `initial`, `model`, `random`, `enqueued`, `listed`, `imported`, `foreign`,
            `twin` or `promoted`.
        prediction: As the Trial of docs/api.md has it; empty unless a model proposed it.
        of_sources: Its `transfer`: of a trial that fills the space only where all were dropped.
    """
    if origin == "initial" and of_sources:
        return (
            "Fills the space, as the first trials do: none of the studies that this one learns "
            "from was of use, so what they had spared was made up for."
        )
    if origin == "initial":
        return "One of the first trials, which fill the space before any model is asked."
    if origin == "listed":
        return "One of the cases that its experiment lists."
    if origin == "enqueued":
        return "Asked for by a user."
    if origin == "imported":
        return "Brought in from a file."
    if origin == "promoted":
        return "Among the best of its rung, so that it was trained further."
    if origin == "twin":
        return (
            "Asked for by a user, and not run: it builds the network of an earlier trial and "
            "trains it in the same way, whose result it has."
        )
    if origin == "foreign":
        return "Of an earlier study, to learn from; not measured in this one."
    if not prediction:
        return "Drawn at random: there was too little to learn from."
    metrics = [
        name for name in prediction if f"{name}_low" in prediction and f"{name}_high" in prediction
    ]
    expected = [f"{wording.label(name)} {wording.interval(prediction, name)}" for name in metrics]
    chances = [
        f"{100 * prediction[name]:.0f} % {what}"
        for name, what in _CHANCES.items()
        if prediction.get(name, 1.0) < 0.995
    ]
    said = f"Proposed by the model, which expected {', '.join([*expected, *chances])}"
    gain = promised_gain(prediction)
    if gain is not None:
        of_what = " of the front's volume" if "log_ehvi" in prediction else ""
        said += f"; a gain of {100 * gain:.2g} %{of_what} on average"
    return f"{said}."
