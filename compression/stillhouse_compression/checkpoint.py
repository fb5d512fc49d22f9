"""A training's state after an epoch, on disk: what a killed one goes on from.

Depends on: torch. Nothing is ever unpickled but tensors and plain values.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

from stillhouse_compression.schedule.generators import random_state, set_random_state
from stillhouse_compression.train import Trainer

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """One file, replaced after every epoch.

    Attributes:
        path: Where it lies.
        task: What is trained, as plain data; another task's file is not gone on from.
    """

    path: Path
    task: Mapping[str, Any]

    def save(self, trainer: Trainer, progress: Mapping[str, Any]) -> None:
        """Write the state after an epoch; a kill at any moment leaves this one or the last.

        Args:
            trainer: Its network, optimizer and generator are saved, and the global generators.
            progress: Plain values and tensors of the caller.
        """
        state = {
            "task": dict(self.task),
            "model": trainer.model.state_dict(),
            "training": trainer.state_dict(),
            "random": random_state(),
            "progress": dict(progress),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A late twin of a task that was thought lost writes the same state at the same time.
        new = self.path.with_name(f"{self.path.name}.{uuid4().hex}.new")
        torch.save(state, new)
        new.replace(self.path)

    def load(self, trainer: Trainer) -> dict[str, Any] | None:
        """Go on from the file, if there is one of this task.

        Args:
            trainer: Takes over the saved state.

        Returns:
            The caller's progress; None where training begins anew.
        """
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            _log.warning("%s cannot be read, training begins anew: %s", self.path, error)
            return None
        if state.get("task") != dict(self.task):
            _log.warning("%s is of another training; this one begins anew", self.path)
            return None
        trainer.model.load_state_dict(state["model"])
        trainer.load_state_dict(state["training"])
        set_random_state(state["random"])
        progress: dict[str, Any] = state["progress"]
        return progress
