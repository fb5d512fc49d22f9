"""Knowledge distillation: the network also learns from a teacher's outputs.

Depends on: torch, policies.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from stillhouse_compression.errors import CompressionError, Problem, ScheduleError, nearest
from stillhouse_compression.schedule.policy import LossComponent, Moment, Policy, PolicyLoss
from stillhouse_compression.schedule.schedule import DistillationEntry

INITIAL = "initial"
"""The teacher that needs no other network: the network as it is when the schedule is loaded."""


class DistillationLossWeights(NamedTuple):
    """Weights of the loss's terms.

    Attributes:
        distill: Of the distillation term.
        student: Of the incoming loss.
        teacher: Of the teacher's own loss; 0, nothing else is defined.
    """

    distill: float = 0.5
    student: float = 0.5
    teacher: float = 0.0


class KnowledgeDistillationPolicy(Policy):
    """Adds the divergence between the softened outputs of student and teacher to the loss.

    ``student * loss + distill * T^2 * KL(softmax(teacher / T) || softmax(student / T))``, the
    divergence averaged over the batch. The reported component is the divergence without T^2.
    The student's outputs are those of the last forward pass, caught by a hook or by
    :meth:`forward`.

    Args:
        student_model: The network that is trained.
        teacher_model: The teacher; it runs without gradients, in the mode it is in.
        temperature: T, above 0.
        loss_weights: Weights of the terms: distillation, student, teacher (0).
        saves_teacher: The teacher's weights belong to the saved state.

    Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2.
    """

    def __init__(
        self,
        student_model: nn.Module,
        teacher_model: nn.Module,
        temperature: float = 1.0,
        loss_weights: tuple[float, float, float] = (0.5, 0.5, 0.0),
        saves_teacher: bool = False,
    ) -> None:
        weights = DistillationLossWeights(*loss_weights)
        if weights.teacher != 0:
            raise CompressionError(f"the teacher's own loss has no use, got weight {weights[2]}")
        if temperature <= 0:
            raise CompressionError(f"temperature must be above 0, got {temperature}")
        self.student = student_model
        self.teacher = teacher_model
        self.temperature = temperature
        self.loss_weights = weights
        self.saves_teacher = saves_teacher
        self._is_active = False
        self._hook: RemovableHandle | None = None
        self._student_output: Tensor | None = None
        self._teacher_output: Tensor | None = None

    def on_epoch_begin(self, moment: Moment) -> None:
        """Begin to watch the student's outputs."""
        self._is_active = True
        if self._hook is None:
            self._hook = self.student.register_forward_hook(self._catch, with_kwargs=True)

    def on_epoch_end(self, moment: Moment) -> None:
        """Stop watching."""
        self._is_active = False
        self._student_output = self._teacher_output = None
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The student's outputs; while active, the teacher sees the inputs, too."""
        output: Tensor = self.student(*args, **kwargs)
        return output

    def before_backward_pass(self, moment: Moment, loss: Tensor) -> PolicyLoss:
        """Add the divergence.

        Raises:
            CompressionError: The student made no forward pass in training mode.
        """
        if self._student_output is None or self._teacher_output is None:
            raise CompressionError(
                "knowledge distillation saw no outputs: call the network itself, in training "
                "mode, between on_epoch_begin and before_backward_pass"
            )
        student, teacher = self._student_output, self._teacher_output
        if student.shape != teacher.shape:
            raise CompressionError(
                f"the teacher's outputs have shape {tuple(teacher.shape)}, the student's "
                f"{tuple(student.shape)}; they must have the same classes"
            )
        self._student_output = self._teacher_output = None
        divergence = functional.kl_div(
            functional.log_softmax(student / self.temperature, dim=1),
            functional.softmax(teacher / self.temperature, dim=1),
            reduction="batchmean",
        )
        weights = self.loss_weights
        overall = weights.student * loss + weights.distill * self.temperature**2 * divergence
        return PolicyLoss(overall, [LossComponent("Distill Loss", divergence)])

    def state_dict(self) -> dict[str, Any]:
        """The teacher, if nobody else keeps it."""
        if not self.saves_teacher:
            return {}
        teacher = self.teacher.state_dict()
        return {"teacher": {name: value.detach().clone() for name, value in teacher.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back.

        Raises:
            CompressionError: The network that was there when the schedule was loaded had other
                shapes than the saved teacher.
        """
        if "teacher" in state:
            try:
                self.teacher.load_state_dict(state["teacher"])
            except RuntimeError as error:
                raise CompressionError(
                    "the saved teacher has other shapes than this network: load the schedule on "
                    "the network as it was at first, then thin it again"
                ) from error

    def _catch(self, module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        if not module.training or not torch.is_grad_enabled():
            return
        self._student_output = output
        first = next(self.teacher.parameters(), None)
        if first is not None and first.device != output.device:
            self.teacher.to(output.device)  # the student moved after the schedule was loaded
        with torch.no_grad():
            self._teacher_output = self.teacher(*args, **kwargs)


def distillation_policy(
    entry: DistillationEntry, model: nn.Module, teachers: Mapping[str, nn.Module] | None
) -> KnowledgeDistillationPolicy:
    """The policy of a schedule's ``distillation`` section.

    Args:
        entry: The section.
        model: The student.
        teachers: Networks by name; ``initial`` is always there.

    Raises:
        ScheduleError: Nobody gave a teacher of that name.
    """
    known = dict(teachers or {})
    if entry.teacher in known:
        teacher = known[entry.teacher]
    elif entry.teacher == INITIAL:
        teacher = copy.deepcopy(model).eval().requires_grad_(False)
    else:
        names = [INITIAL, *known]
        message = f"no teacher {entry.teacher!r} was given; known: {', '.join(names)}"
        raise ScheduleError(
            [Problem("distillation.teacher", message + nearest(entry.teacher, names))]
        )
    weights = DistillationLossWeights(entry.distill_weight, entry.student_weight)
    is_own = teacher is not known.get(entry.teacher)
    return KnowledgeDistillationPolicy(model, teacher, entry.temperature, weights, is_own)
