"""What schedules cost: callbacks beside a training step, making masks, and keeping them.

Depends on: torch, stillhouse_compression.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from record import record
from torch import Tensor
from torch.nn import functional

from stillhouse_compression import CompressionScheduler, dict_config, models
from stillhouse_compression.schedule.ranking import Structure, keep_best, n_to_prune
from stillhouse_compression.schedule.selection import keep_level

BATCH = 128
STEPS = 9
REPEATS = 7
LEVELS = (0.1, 0.5, 0.9, 0.99)
WINDOW = {"starting_epoch": 0, "ending_epoch": 10, "frequency": 1}

# Weight shapes of ResNet-50 (He et al. 2016, table 1): (blocks, width, input of the stage).
STAGES = ((3, 64, 64), (4, 128, 256), (6, 256, 512), (3, 512, 1024))

PRUNED = ["layer*.conv*.weight"]
SCHEDULES: dict[str, dict[str, Any]] = {
    "AGP": {
        "pruners": {
            "p": {
                "class": "AutomatedGradualPruner",
                "initial_sparsity": 0.05,
                "final_sparsity": 0.8,
                "weights": PRUNED,
            }
        },
        "policies": [{"pruner": {"instance_name": "p"}, **WINDOW}],
    },
    "lasso with threshold": {
        "regularizers": {
            "r": {
                "class": "GroupLassoRegularizer",
                "reg_regims": {PRUNED[0]: [1e-4, "Filters"]},
                "threshold_criteria": "Mean_Abs",
            }
        },
        "policies": [{"regularizer": {"instance_name": "r"}, **WINDOW}],
    },
    "masks every minibatch": {
        "pruners": {
            "p": {
                "class": "AutomatedGradualPruner",
                "initial_sparsity": 0.05,
                "final_sparsity": 0.8,
                "weights": PRUNED,
            }
        },
        "policies": [
            {
                "pruner": {
                    "instance_name": "p",
                    "args": {"mini_batch_pruning_frequency": 1},
                },
                **WINDOW,
            }
        ],
    },
}
TARGETS = {"AGP": 1.0, "lasso with threshold": 2.0, "masks every minibatch": 2.0}


def resnet50_shapes() -> list[tuple[int, ...]]:
    """Shapes of ResNet-50's convolutions and its linear layer, 25.5 million weights."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7)]
    for n_blocks, width, n_in in STAGES:
        for block in range(n_blocks):
            channels = n_in if block == 0 else 4 * width
            shapes += [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            if block == 0:
                shapes.append((4 * width, channels, 1, 1))
    return [*shapes, (1000, 2048)]


def median_s(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median time of a call, seconds, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def step_times(schedule: dict[str, Any], x: Tensor, y: Tensor) -> tuple[list[float], list[float]]:
    """Plain steps and the callbacks' share of scheduled steps, side by side, seconds each.

    The callbacks' share has everything a schedule adds to a step: the callbacks and the
    backward pass of what they add to the loss.
    """
    torch.manual_seed(0)
    model = models.build("resnet20_cifar", 10).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    scheduler = dict_config(model, optimizer, schedule)
    scheduler.on_epoch_begin(1, optimizer)
    plain, added = [], []
    clock = time.perf_counter
    for i in range(STEPS + 1):
        start = clock()
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        plain.append(clock() - start)

        start = clock()
        scheduler.on_minibatch_begin(1, i, STEPS + 1, optimizer)
        before = clock() - start
        loss = functional.cross_entropy(model(x), y)
        start = clock()
        answer = scheduler.before_backward_pass(1, i, STEPS + 1, loss, optimizer)
        penalties = [c.value for c in answer.loss_components]
        if penalties:
            torch.autograd.backward(torch.stack(penalties).sum(), retain_graph=True)
        before += clock() - start
        optimizer.zero_grad()
        answer.backward()
        start = clock()
        scheduler.before_parameter_optimization(1, i, STEPS + 1, optimizer)
        before += clock() - start
        optimizer.step()
        start = clock()
        scheduler.on_minibatch_end(1, i, STEPS + 1, optimizer)
        added.append(before + clock() - start)
    return plain[1:], added[1:]


def mask_bytes(scheduler: CompressionScheduler) -> int:
    """Memory of all masks; an expanded view counts what it really holds."""
    storages = {
        mask.untyped_storage().data_ptr(): mask.untyped_storage().nbytes()
        for mask in scheduler.masks.values()
        if mask is not None
    }
    return sum(storages.values())


def overhead_rows(figures: dict[str, object]) -> list[list[Any]]:
    """One row a schedule: plain step, what it adds, the share, the target."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, 3, 32, 32, generator=generator)
    y = torch.randint(0, 10, (BATCH,), generator=generator)
    rows = []
    for name, schedule in SCHEDULES.items():
        plain, added = step_times(schedule, x, y)
        step, extra = statistics.median(plain), statistics.median(added)
        figures[name] = {
            "plain_s": plain,
            "added_s": added,
        }
        share = 100 * extra / step
        rows.append(
            [name, round(1e3 * step, 1), round(1e3 * extra, 2), round(share, 2), TARGETS[name]]
        )
    return rows


def memory_rows() -> list[list[Any]]:
    """One row a kind of mask: weights that are masked, bytes of their masks."""
    filters = {
        "class": "L1RankedStructureParameterPruner",
        "group_type": "Filters",
        "desired_sparsity": 0.5,
        "weights": PRUNED,
    }
    level = {"class": "SparsityLevelParameterPruner", "levels": {PRUNED[0]: 0.5}}
    rows: list[list[Any]] = []
    for name, pruner in (("elements", level), ("filters", filters)):
        model = models.build("resnet20_cifar", 10)
        policy = {"pruner": {"instance_name": "p"}, "epochs": [0]}
        scheduler = dict_config(model, None, {"pruners": {"p": pruner}, "policies": [policy]})
        scheduler.on_epoch_begin(0)
        masked = [mask for mask in scheduler.masks.values() if mask is not None]
        n_weights, n_bytes = sum(mask.numel() for mask in masked), mask_bytes(scheduler)
        rows.append([name, n_weights, n_bytes, round(n_bytes / n_weights, 4), 1])
    return rows


def mask_rows(figures: dict[str, object]) -> list[list[Any]]:
    """One row a level: new masks for ResNet-50's weights, selection beside a full sort."""
    torch.manual_seed(0)
    weights = [torch.randn(shape) * 0.05 for shape in resnet50_shapes()]
    figures["resnet50_weights"] = sum(weight.numel() for weight in weights)

    def by_selection(level: float) -> list[Tensor | None]:
        return [keep_level(weight, level) for weight in weights]

    def by_sorting(level: float) -> list[Tensor]:
        masks = []
        for weight in weights:
            magnitude = weight.abs()
            k = int(level * weight.numel())
            masks.append(magnitude > magnitude.flatten().sort().values[k - 1])
        return masks

    rows: list[list[Any]] = []
    for level in LEVELS:
        for one, other in zip(by_selection(level), by_sorting(level), strict=True):
            assert one is not None and torch.equal(one, other)
        selection = median_s(lambda level=level: by_selection(level), 5)  # type: ignore[misc]  # bound
        sorting = median_s(lambda level=level: by_sorting(level), 1)  # type: ignore[misc]  # bound
        rows.append([f"elements, level {level:g}", round(selection, 3), round(sorting, 2), 0.8])
    structure = Structure("Filters")

    def by_filters() -> list[Tensor | None]:
        masks: list[Tensor | None] = []
        for weight in weights:
            if weight.dim() == 4:
                n = n_to_prune(weight.shape[0], 0.5)
                keep = keep_best(structure.scores(weight, 1), n)
                masks.append(None if keep is None else structure.mask(keep, weight.shape))
        return masks

    rows.append(["filters, L1 norm, 0.5", round(median_s(by_filters), 3), None, 0.11])
    return rows


def main() -> None:
    """Measure on one thread and write the results."""
    torch.set_num_threads(1)
    figures: dict[str, object] = {"batch": BATCH, "steps": STEPS, "threads": 1}
    record(
        "schedule",
        {
            "overhead": (
                ["schedule", "plain step (ms)", "added (ms)", "added (%)", "target (%)"],
                overhead_rows(figures),
            ),
            "memory": (
                ["masks", "masked weights", "bytes", "bytes a weight", "target"],
                memory_rows(),
            ),
            "masks": (
                ["masks for ResNet-50's weights", "time (s)", "full sort (s)", "target (s)"],
                mask_rows(figures),
            ),
        },
        figures,
    )


if __name__ == "__main__":
    main()
