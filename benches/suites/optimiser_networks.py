"""Synthetic networks that are compressed in microseconds: latency and accuracy of a config.

Depends on: numpy. Knows nothing of any optimiser.

Two kinds. *smooth*: each layer's time falls with diminishing returns. *stepped*: kept channels are
rounded up to 8, times jump off multiples of 16 and 32, residual-coupled layers build the smallest
sparsity among them, neighbours multiply, and losses of neighbours add up to more than their sum.

Each in two families. In *wide* ones training and methods decide much of the loss and layers are
wide: the best network is far faster than a random one. *narrow* ones leave a searcher little room
at the tightest limit: there the dense network is nearly the best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

N_LAYERS = 12
STAGES = (range(0, 4), range(4, 8), range(8, 12))
METHODS = ("filters", "mixed", "late")
LATENCY_NOISE = 0.01
DROP_NOISE = 0.0015
KINDS = ("smooth", "stepped", "narrow-smooth", "narrow-stepped")
# Share of random configs that meets the limit; at "none" none of 20,000 does.
LEVELS = {"15%": 0.15, "2%": 0.02, "none": 0.0}


@dataclass(frozen=True)
class Network:
    """One instance; everything about it follows from kind and number."""

    kind: str  # smooth or stepped
    channels: NDArray[np.int64]
    work: Array  # share of the dense time
    returns: Array  # exponent of the kept share
    sensitivity: Array
    bend: Array  # exponent of the loss
    best_log_lr: float
    best_decay: float
    groups: tuple[tuple[int, ...], ...]
    tuning_weight: float  # how much a training away from the best costs
    mixed_left: float  # share of the loss that the best mixed pruning leaves
    mixed_curve: float
    late_left: float
    none_level: float  # the tightest limit, over the lowest loss of 20,000 random configs

    @classmethod
    def make(cls, kind: str, number: int) -> Network:
        """The ``number``-th instance of one of ``KINDS``."""
        return cls._narrow(kind, number) if kind.startswith("narrow-") else cls._wide(kind, number)

    @classmethod
    def _wide(cls, kind: str, number: int) -> Network:
        rng = np.random.default_rng([number, {"smooth": 11, "stepped": 12}[kind]])
        work = rng.dirichlet(np.full(N_LAYERS, 2.0))
        sensitivity = rng.lognormal(-0.5, 0.8, N_LAYERS)
        is_stepped = kind == "stepped"
        return cls(
            kind=kind,
            channels=np.repeat([64, 128, 256], 4) if is_stepped else np.full(N_LAYERS, 64),
            work=work,
            returns=rng.uniform(1.5, 2.5, N_LAYERS),
            sensitivity=0.16 * sensitivity / sensitivity.sum(),
            bend=rng.uniform(1.6, 2.8, N_LAYERS),
            best_log_lr=float(rng.uniform(-3.0, -1.6)),
            best_decay=float(rng.uniform(-4.5, -3.2)),
            groups=((2, 4), (8, 10)) if is_stepped else (),
            tuning_weight=2.0,
            mixed_left=0.6,
            mixed_curve=0.8,
            late_left=0.8,
            none_level=0.99,
        )

    @classmethod
    def _narrow(cls, kind: str, number: int) -> Network:
        rng = np.random.default_rng([number, {"narrow-smooth": 1, "narrow-stepped": 2}[kind]])
        work = rng.dirichlet(np.full(N_LAYERS, 2.0))
        sensitivity = rng.lognormal(-0.5, 0.8, N_LAYERS)
        is_stepped = kind == "narrow-stepped"
        return cls(
            kind=kind.removeprefix("narrow-"),
            channels=np.repeat([32, 64, 128], 4) if is_stepped else np.full(N_LAYERS, 64),
            work=work,
            returns=rng.uniform(1.0, 2.2, N_LAYERS),
            sensitivity=0.16 * sensitivity / sensitivity.sum(),
            bend=rng.uniform(1.6, 3.5, N_LAYERS),
            best_log_lr=float(rng.uniform(-3.0, -1.6)),
            best_decay=float(rng.uniform(-4.5, -3.2)),
            groups=((0, 2), (4, 6), (8, 10)) if is_stepped else (),
            tuning_weight=1.0,
            mixed_left=0.75,
            mixed_curve=0.5,
            late_left=0.9,
            none_level=0.8,
        )

    def parameters(self) -> list[dict[str, Any]]:
        """The search space as the optimiser's JSON: 22 parameters, three of them conditional."""
        sparsities: list[dict[str, Any]] = [
            {"name": f"layer{k}.sparsity", "kind": "float", "low": 0.0, "high": 0.9, "default": 0.0}
            for k in range(N_LAYERS)
        ]
        methods: list[dict[str, Any]] = []
        for k in range(len(STAGES)):
            methods.append({"name": f"stage{k}.method", "kind": "choice", "choices": list(METHODS)})
            methods.append(
                {
                    "name": f"stage{k}.ramp",
                    "kind": "float",
                    "low": 0.0,
                    "high": 1.0,
                    "condition": [{"parent": f"stage{k}.method", "values": ["mixed"]}],
                }
            )
        return [
            *sparsities,
            *methods,
            {"name": "lr", "kind": "float", "low": 1e-4, "high": 1e-1, "log": True},
            {"name": "decay", "kind": "float", "low": 1e-6, "high": 1e-2, "log": True},
            {"name": "epochs", "kind": "int", "low": 2, "high": 12, "default": 8},
            {"name": "batch", "kind": "ordinal", "choices": [32, 64, 128, 256], "default": 64},
        ]

    def kept(self, sparsity: Array) -> Array:
        """Shares of channels as built (n, layers) from sparsities asked for."""
        sparsity = sparsity.copy()
        for group in self.groups:
            sparsity[:, group] = sparsity[:, group].min(axis=1, keepdims=True)
        if self.kind == "smooth":
            return 1.0 - sparsity
        kept = np.ceil((1.0 - sparsity) * self.channels / 8 - 1e-9) * 8
        return np.asarray(np.maximum(kept, 8) / self.channels)

    def shares(self, kept: Array) -> dict[str, Array]:
        """What is left of the dense network's work, as shares."""
        before = np.concatenate([np.ones((len(kept), 1)), kept[:, :-1]], axis=1)
        macs = self.work * kept * before
        kept_channels = np.rint(kept * self.channels)
        weights = self.channels.astype(float) ** 2
        return {
            "mac_share": macs.sum(axis=1),
            "param_share": (weights * kept * before).sum(axis=1) / weights.sum(),
            "off_16": (macs * (kept_channels % 16 != 0)).sum(axis=1),
            "off_32": (macs * (kept_channels % 32 != 0)).sum(axis=1),
        }

    def cheap_features(self, columns: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
        """The network as built, as the optimiser's door wants it."""
        names = [f"layer{k}.sparsity" for k in range(N_LAYERS)]
        kept = self.kept(np.stack([np.asarray(columns[n], dtype=float) for n in names], axis=1))
        built = {name: 1.0 - kept[:, k] for k, name in enumerate(names)}
        return built | self.shares(kept)

    def truth(self, config: Mapping[str, Any]) -> tuple[float, float]:
        """Latency ratio and accuracy drop without noise."""
        sparsity = np.array([[config[f"layer{k}.sparsity"] for k in range(N_LAYERS)]])
        kept = self.kept(sparsity)
        factor = np.ones(N_LAYERS)
        for k, stage in enumerate(STAGES):
            method, at = config[f"stage{k}.method"], slice(stage.start, stage.stop)
            if method == "mixed":
                ramp = config[f"stage{k}.ramp"]
                factor[at] = self.mixed_left + self.mixed_curve * (ramp - 0.7) ** 2
            elif method == "late":
                factor[at] = self.late_left
        fault = 0.5 * (math.log10(config["lr"]) - self.best_log_lr) ** 2
        fault += 0.08 * (math.log10(config["decay"]) - self.best_decay) ** 2
        fault += 0.8 * math.exp(-config["epochs"] / 3.0)
        fault += {32: 0.0, 64: 0.02, 128: 0.08, 256: 0.25}[config["batch"]]
        tuning = 1.0 + self.tuning_weight * fault
        return float(self.latency(kept)[0]), float(self.drop(kept, factor, tuning)[0])

    def latency(self, kept: Array) -> Array:
        """Latency ratios (n,) of kept shares (n, layers)."""
        if self.kind == "smooth":
            return np.asarray((self.work * (0.08 + 0.92 * kept**self.returns)).sum(axis=1))
        before = np.concatenate([np.ones((len(kept), 1)), kept[:, :-1]], axis=1)
        channels = np.rint(kept * self.channels)
        cliff = 1.0 + 0.15 * (channels % 16 != 0) + 0.06 * (channels % 32 != 0)
        dense_cliff = 1.0 + 0.15 * (self.channels % 16 != 0)
        per_layer = self.work * (0.06 + 0.94 * kept * before * cliff / dense_cliff)
        return np.asarray(per_layer.sum(axis=1))

    def drop(self, kept: Array, factor: Array, tuning: float) -> Array:
        """Accuracy drops (n,) of kept shares (n, layers).

        Args:
            kept: As built.
            factor: How much of each layer's loss its method leaves, (layers,).
            tuning: How much worse the training is than one without fault, from 1 up.
        """
        # Coupling and rounding remove less than was asked for: stepped layers are more tender.
        loss = self.sensitivity * (1.0 - kept) ** self.bend
        loss = loss * (6.0 if self.kind == "smooth" else 8.0) * factor
        drop = loss.sum(axis=1)
        if self.kind == "stepped":
            drop = drop + (0.5 * np.sqrt(loss[:, 1:] * loss[:, :-1])).sum(axis=1)
        # Nothing is lost twice: guessing remains.
        return np.asarray(0.9 * (1.0 - np.exp(-drop * tuning / 0.9)))

    def floor(self, bound: float) -> float:
        """Latency ratio that nobody can go below without luck; a search of 250,000 networks."""
        rng = np.random.default_rng(1)
        factor = np.full(N_LAYERS, self.mixed_left)
        tuning = 1.0 + self.tuning_weight * 0.8 * math.exp(-12 / 3.0)
        rows = rng.uniform(0.0, 0.9, (4000, N_LAYERS)) * rng.random((4000, 1))
        rows[0] = 0.0
        for round_ in range(60):
            kept = self.kept(rows)
            over = np.maximum(self.drop(kept, factor, tuning) - bound, 0.0)
            best = rows[np.argsort(np.log(self.latency(kept)) + 1e6 * over)[:100]]
            children = np.repeat(best, 40, axis=0)
            moved = (
                rng.random(children.shape) < rng.choice([1, 2, 4], (len(children), 1)) / N_LAYERS
            )
            children += moved * rng.normal(scale=0.3 * 0.93**round_, size=children.shape)
            for group in self.groups:
                leader = children[np.arange(len(children)), rng.choice(group, len(children))]
                children[:, group] = leader[:, None]
            rows = np.concatenate([best, np.clip(children, 0.0, 0.9)])
        kept = self.kept(rows)
        is_within = self.drop(kept, factor, tuning) <= bound
        return float(self.latency(kept)[is_within].min())

    def measure(self, config: Mapping[str, Any], rng: np.random.Generator) -> tuple[float, float]:
        """One noisy trial."""
        latency, drop = self.truth(config)
        return (
            latency * math.exp(rng.normal() * LATENCY_NOISE),
            drop + rng.normal() * DROP_NOISE,
        )

    def limits(self) -> dict[str, float]:
        """For each level the bound on the drop; takes seconds."""
        rng = np.random.default_rng(12345)
        parameters = self.parameters()
        configs = (self.random_config(rng, parameters) for _ in range(20_000))
        drops = np.sort([self.truth(config)[1] for config in configs])
        return {
            level: round(
                float(drops[int(share * len(drops))] if share else drops[0] * self.none_level), 5
            )
            for level, share in LEVELS.items()
        }

    def random_config(
        self, rng: np.random.Generator, parameters: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        """A config drawn uniformly from the space."""
        config: dict[str, Any] = {}
        for parameter in parameters or self.parameters():
            condition = parameter.get("condition")
            if condition and config[condition[0]["parent"]] not in condition[0]["values"]:
                continue
            if "choices" in parameter:
                config[parameter["name"]] = parameter["choices"][
                    int(rng.integers(len(parameter["choices"])))
                ]
            elif parameter["kind"] == "int":
                low, high = parameter["low"], parameter["high"]
                config[parameter["name"]] = int(rng.integers(low, high + 1))
            elif parameter.get("log"):
                low, high = math.log(parameter["low"]), math.log(parameter["high"])
                config[parameter["name"]] = math.exp(rng.uniform(low, high))
            else:
                config[parameter["name"]] = float(rng.uniform(parameter["low"], parameter["high"]))
        return config

    def dense_config(self) -> dict[str, Any]:
        """The default: nothing removed."""
        config: dict[str, Any] = {f"layer{k}.sparsity": 0.0 for k in range(N_LAYERS)}
        config |= {f"stage{k}.method": "filters" for k in range(len(STAGES))}
        return config | {"lr": 10**-2.5, "decay": 1e-4, "epochs": 8, "batch": 64}
