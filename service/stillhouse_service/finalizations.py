"""A study's winner trained at full length and measured on the whole test split.

Depends on: the store, experiments. It is an experiment of one case; its study ends on the test
split as every search does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse_compression.training import Recipe, TrainingSettings
from stillhouse_service import experiments, listed
from stillhouse_service.errors import Conflict, Problem, SpecRejected
from stillhouse_service.ids import trial_seed
from stillhouse_service.once import Once
from stillhouse_service.repositories.trials import BROUGHT
from stillhouse_service.schemas.experiments import ExperimentIn, FinalizeIn
from stillhouse_service.states import is_final
from stillhouse_service.store import USER, Store, UnitOfWork
from stillhouse_service.tables import BaselineRow, StudyRow, TrialRow

_FIRST = 1_000_000  # no trial of a search has this number: the seed is another than any of its


def finalize(
    store: Store,
    study_id: str,
    wanted: FinalizeIn,
    user: str = USER,
    once: Once | None = None,
) -> str:
    """Start the last training of a study's winner.

    Returns:
        The id of the experiment that does it.

    Raises:
        NotFound: No such study.
        Conflict: It has not ended, or has no winner.
        SpecRejected: The training does not fit the winner's schedule, or the trial named is none
            that could win.
    """
    from stillhouse_service.layouts import Layout, complete  # on use: it loads torch

    with store.read() as view:
        study = view.studies.named(study_id)
        if not is_final(study.state):
            raise Conflict(f"study {study_id} is {study.state}; finalize one that has ended")
        if study.incumbent_id is None:
            raise Conflict(f"study {study_id} has no trial that keeps its limits: no winner")
        if study.baseline_id is None:
            raise Conflict(f"study {study_id} has no network here: its trials are run outside")
        trial = _chosen(view, study, wanted.trial)
        baseline = view.baselines.of(study)
        n_earlier = len(view.experiments.following(study_id, listed.FINALIZE))
        training = full_length(trial.details["training"], baseline) | wanted.training
        case = {
            "name": f"trial {trial.number}",
            "algorithm": "winner",
            "domain": "mixed",
            "scope": "all",
            "layers": "winner",
            "weights": [],
            "level": None,
            "is_control": False,
            "schedule": trial.details["schedule"],
            "training": {},
        }
        layout = Layout(
            [baseline], [study.spec["device"]], {baseline.id: [complete(case, training)]}
        )
        seed = wanted.seed
        if seed is None:
            seed = trial_seed(int(study.spec["seed"]), _FIRST + n_earlier)
        spec = ExperimentIn.model_validate(
            {
                "stage": "sweep",
                "name": f"{study.name}, finalized"[:200],
                "training": training,
                "seed": seed,
                "timing": study.spec["timing"],
            }
        )
    with store.begin(user) as work:

        def start() -> str:
            return experiments.begin(work, spec, layout, listed.FINALIZE, study_id).id

        return (once or Once()).do(work, start)


def _chosen(view: UnitOfWork, study: StudyRow, trial_id: str | None) -> TrialRow:
    """Find the trial to train: the incumbent, or another that keeps the limits as measured.

    Raises:
        SpecRejected: The trial named is none of the study's own, or does not keep them.
    """
    if trial_id is None:
        assert study.incumbent_id is not None
        return view.trials.detailed(study.incumbent_id)
    found = view.trials.find(trial_id)
    if found is None or found.study_id != study.id:
        raise SpecRejected([Problem("trial", f"study {study.id} has no trial {trial_id!r}")])
    if found.origin in BROUGHT:
        message = f"trial {found.number} was brought from elsewhere: it has no schedule here"
        raise SpecRejected([Problem("trial", message)])
    if found.is_feasible is not True:
        message = f"trial {found.number} does not keep the limits as measured: choose one that does"
        raise SpecRejected([Problem("trial", message)])
    return view.trials.detailed(trial_id)


def full_length(training: Mapping[str, Any], baseline: BaselineRow) -> dict[str, Any]:
    """Give a trial's settings as long as its baseline was trained, on as many images.

    The schedule keeps its epochs: what is longer is the recovery behind it.
    """
    settings = TrainingSettings.from_mapping(training)
    recipe = Recipe.from_mapping(baseline.recipe, "recipe")
    left = max(settings.recovery_epochs, recipe.epochs - settings.epochs)
    return {
        **training,
        "effective_train_size": recipe.effective_train_size,
        "epochs": settings.epochs,
        "recovery_epochs": left,
    }
