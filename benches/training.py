"""What training costs: a schedule beside a bare loop, the loader beside the training step.

Depends on: torch, stillhouse_compression. On a GPU where there is one, else on one CPU thread.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from record import record
from schedule import SCHEDULES
from torch.nn.functional import cross_entropy

from stillhouse_compression import datasets, dict_config, models
from stillhouse_compression.datasets import Augmentation, Dataset
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layout import layout_kept
from stillhouse_compression.train import Images, Trainer, precision
from stillhouse_compression.training import TrainingSettings

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
IS_CUDA = DEVICE.type == "cuda"
BATCH = 512 if IS_CUDA else 32
N_IMAGES = 50_000 if IS_CUDA else 128
ROUNDS = 7 if IS_CUDA else 4
TARGET_SHARE = 3.0  # percent
TARGET_CUDA = 20_000.0  # images a second, ResNet-20, CIFAR's size, batch 512, mixed precision


def images() -> Images:
    """Training images of CIFAR's size and augmentation, random pixels: only their cost counts."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (N_IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, N_IMAGES)
    data = datasets.load("digits")
    info = dataclasses.replace(data.info, augmentation=Augmentation(max_shift=4, is_mirrored=True))
    small: Dataset = dataclasses.replace(
        data,
        info=info,
        images={**data.images, "train": pixels},
        labels={**data.labels, "train": labels},
    )
    return Images(small, "train", DEVICE)


def clock() -> float:
    """Seconds of work: on the CPU this process's own, which other programs disturb less."""
    if IS_CUDA:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def timed(run: Callable[[], object]) -> float:
    """Seconds a call takes."""
    start = clock()
    run()
    return clock() - start


def bare_epoch(model: torch.nn.Module, optimizer: torch.optim.Optimizer, data: Images) -> None:
    """The loop that anybody would write: same order, augmentation, layout and precision."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator).to(DEVICE)
    model.train()
    for start in range(0, len(data), BATCH):
        chosen = order[start : start + BATCH]
        x = data.normalise(data.augmentation.apply(data.take(chosen), generator))
        with precision(DEVICE, True), layout_kept(model):
            logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = cross_entropy(logits.float(), data.labels[chosen])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


def load_epoch(data: Images) -> None:
    """Only the loading: take, augment, normalise."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(data), generator=generator).to(DEVICE)
    for start in range(0, len(data), BATCH):
        pixels = data.augmentation.apply(data.take(order[start : start + BATCH]), generator)
        data.normalise(pixels)


def trainer_of(data: Images) -> Trainer:
    """Our loop on a fresh network."""
    torch.manual_seed(0)
    model = models.build("resnet20_cifar", 10).to(DEVICE)
    settings = TrainingSettings(batch_size=BATCH, lr=0.01, lr_schedule="constant")
    return Trainer(model, data, settings, ROUNDS + 1, 0, Hooks())


def main() -> None:
    """Measure, loops taking turns, and write the results."""
    torch.set_num_threads(1)
    data = images()
    bare, plain, scheduled = trainer_of(data), trainer_of(data), trainer_of(data)
    scheduler = dict_config(scheduled.model, scheduled.optimizer, SCHEDULES["AGP"])
    times: dict[str, list[float]] = {"bare": [], "plain": [], "schedule": [], "loader": []}
    for epoch in range(ROUNDS + 1):
        runs: dict[str, Callable[[], object]] = {
            "bare": partial(bare_epoch, bare.model, bare.optimizer, data),
            "plain": partial(plain.run_epoch, epoch, sets_lr=False),
            "schedule": partial(scheduled.run_epoch, epoch, scheduler, sets_lr=False),
            "loader": partial(load_epoch, data),
        }
        for name, run in runs.items():
            spent = timed(run)
            if epoch > 0:  # the first warms up
                times[name].append(spent)
        scheduler.on_epoch_end(epoch, scheduled.optimizer, {"min": 1.0, "max": 0.5})
    reference = statistics.median(times["bare"])
    rates = {name: N_IMAGES / statistics.median(spent) for name, spent in times.items()}
    rows: list[list[Any]] = []
    for name, label in (("plain", "our loop"), ("schedule", "our loop with a schedule (AGP)")):
        # Each round's pair ran side by side; their ratio's median is steadier than two medians.
        added = statistics.median(
            100 * (mine / theirs - 1)
            for mine, theirs in zip(times[name], times["bare"], strict=True)
        )
        rows.append([label, round(1e3 * reference, 1), round(added, 2), TARGET_SHARE])
    speed: list[list[Any]] = [
        ["training step", round(rates["plain"]), TARGET_CUDA if IS_CUDA else None],
        ["loader", round(rates["loader"]), None],
    ]
    record(
        "training",
        {
            "overhead": (["loop", "bare epoch (ms)", "added (%)", "target (%)"], rows),
            "speed": (["ResNet-20, 32x32", "images a second", "target"], speed),
        },
        {"device": str(DEVICE), "batch": BATCH, "images": N_IMAGES, "times_s": times},
    )
    if IS_CUDA and rates["plain"] < TARGET_CUDA:
        raise SystemExit(f"{rates['plain']:.0f} images/s, wanted {TARGET_CUDA:.0f}")


if __name__ == "__main__":
    main()
