"""The training loop: SGD over images in memory, with a schedule's callbacks where there is one.

Depends on: torch. CPU and CUDA alike; knows nothing of what the callbacks do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stillhouse_compression.datasets import Augmentation, Dataset
from stillhouse_compression.errors import TrainingDiverged
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.layout import fastest_layout, layout_kept, with_fast_weights
from stillhouse_compression.training import Recipe, TrainingSettings


class Loss(Protocol):
    """What `Callbacks.before_backward_pass` returns."""

    @property
    def overall_loss(self) -> Tensor:
        """The loss that is differentiated."""


class Callbacks(Protocol):
    """The scheduler's callbacks that training calls, under their original names."""

    def on_epoch_begin(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Before the first minibatch."""

    def on_minibatch_begin(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Before the forward pass."""

    def before_backward_pass(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        loss: Tensor,
        optimizer: torch.optim.Optimizer,
    ) -> Loss:
        """Between loss and backward pass."""

    def before_parameter_optimization(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Between backward pass and the optimizer's step."""

    def on_minibatch_end(
        self,
        epoch: int,
        minibatch_id: int,
        minibatches_per_epoch: int,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """After the optimizer's step."""

    def on_epoch_end(
        self, epoch: int, optimizer: torch.optim.Optimizer, metrics: Mapping[str, float]
    ) -> None:
        """After the epoch's validation."""


class Images:
    """One split as training and evaluation read it: on the device, or mapped from the disk.

    Args:
        data: The data set.
        split: ``train``, ``validation`` or ``test``.
        device: Where the network is.

    Attributes:
        labels: (n,) int64 on the device.
        device: Where batches come to lie.
        is_mapped: Whether images are read from the disk as they are needed.
    """

    def __init__(self, data: Dataset, split: str, device: torch.device) -> None:
        images = data.images[split]
        self.is_mapped = isinstance(images, np.memmap)
        self._images: Tensor | NDArray[np.uint8] = (
            images if self.is_mapped else torch.tensor(images, device=device)
        )
        self.labels = torch.tensor(data.labels[split], device=device)
        self.device = device
        self.augmentation: Augmentation = data.info.augmentation
        mean = torch.tensor(data.mean, device=device)[None, :, None, None]
        std = torch.tensor(data.std, device=device)[None, :, None, None]
        self._scale = 1.0 / (255.0 * std)
        self._offset = -mean / std

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Tensor | slice) -> Tensor:
        """Pixels of some images as they are stored, uint8, on the device."""
        if isinstance(self._images, Tensor):
            return self._images[chosen]
        index = chosen if isinstance(chosen, slice) else chosen.cpu().numpy()
        pixels = torch.from_numpy(np.array(self._images[index]))
        return pixels.to(self.device, non_blocking=True)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Turn uint8 pixels into what a network sees: ``(pixel / 255 - mean) / std``, float32."""
        return pixels.float() * self._scale + self._offset

    def example(self) -> Tensor:
        """One normalised image, (1, channels, height, width)."""
        return self.normalise(self.augmentation.centre(self.take(slice(0, 1))))

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Normalised images and labels in order, unchanged, the last batch smaller."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield self.normalise(self.augmentation.centre(self.take(part))), self.labels[part]

    def fetched(self, parts: Sequence[Tensor]) -> Iterator[Tensor]:
        """Give `take` of each part; from the disk, the next is read while one is used."""
        if not self.is_mapped:
            yield from map(self.take, parts)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = reader.submit(self.take, parts[0])
            for following in parts[1:]:
                ready, coming = coming, reader.submit(self.take, following)
                yield ready.result()
            yield coming.result()


@dataclass(frozen=True)
class EpochResult:
    """One pass over the training images.

    Attributes:
        loss: Mean training loss, regularisers included.
        lr: Learning rate of the first parameter group at the last step.
    """

    loss: float
    lr: float


class Trainer:
    """Trains one network on one split.

    Args:
        model: On ``device``; changed in place. Modules may shrink between minibatches.
        images: The training split on the same device.
        settings: A recipe or a trial's settings.
        total_epochs: What the learning rate's cosine spans.
        seed: Of the order of images and of their changes.
        hooks: Cancellation and host lock, asked every minibatch.

    Attributes:
        device: Where it trains.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Images,
        settings: Recipe | TrainingSettings,
        total_epochs: int,
        seed: int,
        hooks: Hooks,
    ) -> None:
        self.model = with_fast_weights(model)
        self.settings = settings
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov and settings.momentum > 0.0,
        )
        self._images = images
        self._total_epochs = total_epochs
        self._generator = torch.Generator().manual_seed(seed % 2**63)
        self._hooks = hooks
        self.device = images.device
        self._layout = fastest_layout(model, images.example())

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and that of the generator of orders and changes of images."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` of a trainer of the same settings gave.

        Raises:
            ValueError: The optimizer's state is that of other parameters.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        self._generator.set_state(state["generator"].cpu())

    def run_epoch(
        self, epoch: int, callbacks: Callbacks | None = None, sets_lr: bool = True
    ) -> EpochResult:
        """Train one epoch; `Callbacks.on_epoch_end` is left to the caller (validation is first).

        Args:
            epoch: Counted from 0 over the whole training.
            callbacks: The schedule's; None trains plainly.
            sets_lr: Whether the settings rule the learning rate; False leaves it to the schedule.

        Raises:
            Cancelled: Somebody asked for the end.
            TrainingDiverged: The loss is no longer a finite number.
        """
        settings, optimizer = self.settings, self.optimizer
        n = max(2, round(settings.effective_train_size * len(self._images)))
        order = torch.randperm(len(self._images), generator=self._generator)[:n].to(self.device)
        n_batches = max(1, math.ceil((n - 1) / settings.batch_size))  # no batch of a single image
        # Reading a loss waits for a GPU: there, once an epoch is enough.
        checks_each = self.device.type == "cpu"
        total = torch.zeros((), device=self.device)
        self.model.train()
        if callbacks is not None:
            callbacks.on_epoch_begin(epoch, optimizer=optimizer)
        size = settings.batch_size
        parts = [order[i * size : (i + 1) * size] for i in range(n_batches)]
        for i, pixels in enumerate(self._images.fetched(parts)):
            with self._hooks.minibatch():
                if sets_lr:
                    self._set_lr(epoch + i / n_batches)
                loss = self._step(
                    epoch, i, n_batches, pixels, self._images.labels[parts[i]], callbacks
                )
                total += loss
                if checks_each and not math.isfinite(loss.item()):
                    raise TrainingDiverged(
                        f"training diverged: loss {loss.item()} at epoch {epoch}, minibatch {i}; "
                        "a lower learning rate may help"
                    )
        mean = total.item() / n_batches
        if not math.isfinite(mean):
            raise TrainingDiverged(
                f"training diverged: loss {mean} in epoch {epoch}; a lower learning rate may help"
            )
        return EpochResult(loss=mean, lr=optimizer.param_groups[0]["lr"])

    def _step(
        self,
        epoch: int,
        i: int,
        n_batches: int,
        pixels: Tensor,
        y: Tensor,
        callbacks: Callbacks | None,
    ) -> Tensor:
        """One minibatch; returns the detached loss."""
        optimizer = self.optimizer
        augmentation = self._images.augmentation
        if self.settings.augment:
            pixels = augmentation.apply(pixels, self._generator)
        x = self._images.normalise(augmentation.centre(pixels))
        if callbacks is not None:
            callbacks.on_minibatch_begin(epoch, i, n_batches, optimizer=optimizer)
        with precision(self.device, self.settings.mixed_precision), layout_kept(self.model):
            logits = self.model(x.contiguous(memory_format=self._layout))
        loss = cross_entropy(logits.float(), y, label_smoothing=self.settings.label_smoothing)
        if callbacks is not None:
            loss = callbacks.before_backward_pass(
                epoch, i, n_batches, loss, optimizer=optimizer
            ).overall_loss
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if callbacks is not None:
            callbacks.before_parameter_optimization(epoch, i, n_batches, optimizer=optimizer)
        optimizer.step()
        if callbacks is not None:
            callbacks.on_minibatch_end(epoch, i, n_batches, optimizer=optimizer)
        return loss.detach()

    def _set_lr(self, epoch: float) -> None:
        lr = self.settings.lr_at(epoch, self._total_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def training_batches(self, size: int) -> Iterator[Tensor]:
        """Training images in order, unchanged: for BatchNorm statistics."""
        with layout_kept(self.model):
            for x, _ in self._images.batches(size):
                if len(x) >= 2:
                    with self._hooks.minibatch():
                        yield x.contiguous(memory_format=self._layout)


def precision(device: torch.device, is_mixed: bool) -> Any:
    """Autocast to bfloat16 on CUDA where asked; elsewhere nothing."""
    return torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=is_mixed and device.type == "cuda"
    )
