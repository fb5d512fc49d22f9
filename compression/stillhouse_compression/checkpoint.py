"""A training's whole state after an epoch, as bytes: a run that goes on from it ends the same.

Network, optimizer with its learning rate, schedule with its masks, every random generator, and
what the caller has noted so far. Written by `torch.save`, read with `weights_only`: loading one
can execute nothing.

Depends on: torch.
"""

from __future__ import annotations

import io
import logging
import pickle
from collections.abc import Mapping
from typing import Any

import torch

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.schedule.generators import random_state, set_random_state
from stillhouse_compression.schedule.scheduler import CompressionScheduler
from stillhouse_compression.train import Trainer

VERSION = 1
_log = logging.getLogger(__name__)


def save(
    hooks: Hooks,
    n_epochs: int,
    trainer: Trainer,
    notes: Mapping[str, Any],
    scheduler: CompressionScheduler | None = None,
) -> None:
    """Hand a checkpoint to the hooks, where they want one.

    Args:
        hooks: Whoever started the training.
        n_epochs: Epochs that are done.
        trainer: With its network and optimizer.
        notes: The caller's own: plain values and tensors.
        scheduler: The schedule's.
    """
    if hooks.save_checkpoint is None:
        return
    state = {
        **_where(trainer),
        "n_epochs": n_epochs,
        "model": trainer.model.state_dict(),
        "trainer": trainer.state_dict(),
        "scheduler": None if scheduler is None else scheduler.state_dict(),
        "random": random_state(),
        "notes": dict(notes),
    }
    if trainer.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(trainer.device)
    content = io.BytesIO()
    torch.save(state, content)
    hooks.save_checkpoint(content.getvalue())


def load(hooks: Hooks, trainer: Trainer) -> dict[str, Any] | None:
    """Read what the hooks have kept, without touching anything yet.

    One that another version of torch, another number of threads or another kind of device wrote
    is left alone, as its rest would not be that of an undisturbed run; so is one that cannot be
    read. The training then begins anew.

    Args:
        hooks: Whoever started the training.
        trainer: As it is at the beginning.

    Returns:
        The state for `restore`, with `n_epochs` and `notes`; none: begin at the beginning.
    """
    content = None if hooks.load_checkpoint is None else hooks.load_checkpoint()
    if content is None:
        return None
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        _log.warning("the checkpoint cannot be read, the training begins anew: %s", error)
        return None
    wanted = _where(trainer)
    other = [name for name in wanted if state.get(name) != wanted[name]]
    if other:
        said = ", ".join(f"{name} {state.get(name)}, here {wanted[name]}" for name in other)
        _log.warning("the checkpoint is of another run, the training begins anew: %s", said)
        return None
    hooks.progress({"stage": "resuming", "epoch": state["n_epochs"]})
    _log.info("going on from the checkpoint after epoch %d", state["n_epochs"])
    found: dict[str, Any] = state
    return found


def restore(
    state: Mapping[str, Any], trainer: Trainer, scheduler: CompressionScheduler | None = None
) -> None:
    """Take a training back to where a checkpoint left it.

    Args:
        state: What `load` gave.
        trainer: Of the same task, untrained.
        scheduler: Built with `resumed_epoch=state["n_epochs"] - 1`; cut first, where a thinning
            had cut the network.

    Raises:
        CompressionError: The checkpoint is another task's.
    """
    if scheduler is not None:
        scheduler.load_state_dict(state["scheduler"])
    try:
        trainer.model.load_state_dict(state["model"])
        trainer.load_state_dict(state["trainer"])
    except (RuntimeError, ValueError) as error:
        raise CompressionError(f"the checkpoint is another network's: {error}") from error
    set_random_state(state["random"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], trainer.device)


def _where(trainer: Trainer) -> dict[str, Any]:
    """What bits depend on beside the task."""
    return {
        "version": VERSION,
        "torch": str(torch.__version__),
        "n_threads": torch.get_num_threads(),
        "device": trainer.device.type,
    }
