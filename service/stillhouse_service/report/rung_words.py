"""How far the configs of a study with rungs were taken, in words.

Depends on: the standard library.
"""

from __future__ import annotations

from stillhouse_service.report.facts import Facts


def sentence(facts: Facts) -> str:
    """Say how many configs each rung trained and on what it judged them; empty without rungs."""
    rule = facts.study["spec"].get("fidelity")
    if not rule:
        return ""
    epochs = rule["recovery_epochs"]
    images = [*(rule.get("validation_images") or [None] * (len(epochs) - 1)), None]
    counts = [sum(t.get("rung") == rung for t in facts.trials) for rung in range(len(epochs))]
    n_began, *n_further = counts
    said = [f"{n_began} {_configs(n_began)} trained {_length(epochs[0], images[0])}"]
    for rung, n in enumerate(n_further, start=1):
        said.append(f"{n} of them {_length(epochs[rung], images[rung])}")
    spent = sum(
        n * (high - low) for n, low, high in zip(counts, [0, *epochs], epochs, strict=False)
    )
    whole = n_began * epochs[-1]
    share = f" ({100 * spent / whole:.0f} %)" if whole else ""
    return (
        f"Rungs: {', '.join(said)}. Where each goes on from the rung below that is {spent} of the "
        f"{whole} recovery epochs of full trainings{share}."
    )


def _configs(n: int) -> str:
    return "config was" if n == 1 else "configs were"


def _length(n_epochs: int, n_images: int | None) -> str:
    judged = "" if n_images is None else f", judged on {n_images} validation images"
    return f"for {n_epochs} recovery {'epoch' if n_epochs == 1 else 'epochs'}{judged}"
