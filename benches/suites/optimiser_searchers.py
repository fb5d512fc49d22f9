"""Searchers that the optimiser bench compares: ours, Optuna's and random search.

Depends on: numpy, optuna, stillhouse_optimizer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stillhouse_optimizer import Observation, Problem, propose

if TYPE_CHECKING:
    import optuna

Trial = tuple[dict[str, Any], float, float]  # config, latency ratio, accuracy drop
Measure = Callable[[Mapping[str, Any]], tuple[float, float]]


class Searched(Protocol):
    """What a searcher is let loose on."""

    def parameters(self) -> list[dict[str, Any]]:
        """The search space as the optimiser's JSON."""
        ...

    def dense_config(self) -> dict[str, Any]:
        """The first trial of every searcher."""
        ...

    def random_config(self, rng: np.random.Generator) -> dict[str, Any]:
        """A config drawn uniformly from the space."""
        ...

    def cheap_features(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """The network as built, as the optimiser's door wants it."""
        ...


OURS = ("forest", "forest_plain", "gp", "auto", "forest_asked")


def run(
    name: str, network: Searched, bound: float, n: int, seed: int, measure: Measure, in_flight: int
) -> list[Trial]:
    """Let a searcher run ``n`` trials; every one starts with the dense network."""
    if name in OURS:
        return _ours(name, network, bound, n, seed, measure, in_flight)
    if name == "random":
        rng = np.random.default_rng([seed, 99])
        configs = [network.dense_config(), *(network.random_config(rng) for _ in range(n - 1))]
        return [(c, *measure(c)) for c in configs]
    return _optuna(name, network, bound, n, seed, measure, in_flight)


def _ours(
    name: str, network: Searched, bound: float, n: int, seed: int, measure: Measure, in_flight: int
) -> list[Trial]:
    problem = Problem.from_mapping(
        {
            "parameters": network.parameters(),
            "constraints": [{"metric": "top1_drop", "op": "<=", "bound": bound}],
            "surrogate": "forest" if name == "forest_asked" else name,
        }
    )
    # forest_asked sees configs as asked for, not as built.
    cheap = None if name == "forest_asked" else network.cheap_features
    trials: list[Trial] = []
    history: list[Observation] = []
    running: list[dict[str, Any]] = []
    while len(trials) < n:
        while len(running) < in_flight and len(trials) + len(running) < n:
            proposal = propose(problem, history, running, seed, cheap_features=cheap)[0]
            running.append(dict(proposal.config))
        config = running.pop(0)
        latency, drop = measure(config)
        trials.append((config, latency, drop))
        history.append(Observation(config, {"latency_ratio": latency, "top1_drop": drop}))
    return trials


def _optuna(
    name: str, network: Searched, bound: float, n: int, seed: int, measure: Measure, in_flight: int
) -> list[Trial]:
    try:
        import optuna  # ours and random search run without the peers
    except ModuleNotFoundError:
        raise SystemExit(f"{name} is not installed: pip install 'stillhouse[bench]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def constraints(trial: optuna.trial.FrozenTrial) -> Sequence[float]:
        return (trial.user_attrs["drop"] - bound,)

    trials: list[Trial] = []
    running: list[tuple[optuna.Trial, dict[str, Any]]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental arguments, conditional parameters
        sampler: optuna.samplers.BaseSampler
        # Both take running trials into account by themselves.
        if name == "optuna_gp":
            sampler = optuna.samplers.GPSampler(seed=seed, constraints_func=constraints)
        else:
            sampler = optuna.samplers.TPESampler(seed=seed, constraints_func=constraints)
        study = optuna.create_study(sampler=sampler)
        study.enqueue_trial(network.dense_config())
        while len(trials) < n:
            while len(running) < in_flight and len(trials) + len(running) < n:
                asked = study.ask()
                running.append((asked, suggest(network, asked)))
            asked, config = running.pop(0)
            latency, drop = measure(config)
            asked.set_user_attr("drop", drop)
            study.tell(asked, latency)
            trials.append((config, latency, drop))
    return trials


def suggest(network: Searched, trial: optuna.Trial) -> dict[str, Any]:
    """Ask a trial of Optuna's for every active parameter."""
    config: dict[str, Any] = {}
    for parameter in network.parameters():
        name, condition = parameter["name"], parameter.get("condition")
        if condition and config[condition[0]["parent"]] not in condition[0]["values"]:
            continue
        if "choices" in parameter:
            config[name] = trial.suggest_categorical(name, parameter["choices"])
        elif parameter["kind"] == "int":
            config[name] = trial.suggest_int(name, parameter["low"], parameter["high"])
        else:
            is_log = bool(parameter.get("log"))
            config[name] = trial.suggest_float(
                name, parameter["low"], parameter["high"], log=is_log
            )
    return config
