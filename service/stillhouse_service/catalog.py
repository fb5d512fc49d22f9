"""The networks and data sets of this server.

Depends on: stillhouse_compression, whose networks are imported on use: they bring torch along.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from stillhouse_compression.errors import CompressionError
from stillhouse_compression.training import check_recipe
from stillhouse_service import schemas
from stillhouse_service.errors import Problem, SpecRejected


def list_models() -> schemas.Models:
    """Show every network."""
    from stillhouse_compression import models

    return schemas.Models(
        items=[
            schemas.ModelInfo(
                name=info.name,
                description=info.description,
                input_shape=list(info.input_shape),
                n_classes_default=info.n_classes_default,
            )
            for info in models.available()
        ]
    )


def list_datasets() -> schemas.Datasets:
    """Show every data set."""
    from stillhouse_compression import datasets

    return schemas.Datasets(
        items=[
            schemas.DatasetInfo(
                name=info.name,
                description=info.description,
                n_classes=info.n_classes,
                shape=list(info.shape),
                splits=dict(info.splits),
            )
            for info in datasets.available()
        ]
    )


@lru_cache(maxsize=16)
def parameter_shapes(model: str, dataset: str) -> Mapping[str, tuple[int, ...]]:
    """Name and shape of every parameter of a network with a data set's number of classes."""
    from stillhouse_compression import datasets, models

    network = models.build(model, datasets.dataset_info(dataset).n_classes)
    return {name: tuple(weight.shape) for name, weight in network.named_parameters()}


def check_baseline(model: str, dataset: str, recipe: Mapping[str, Any]) -> None:
    """Make sure that a baseline can be trained, before anything is.

    Raises:
        SpecRejected: With every problem.
    """
    from stillhouse_compression import datasets, models

    problems = []
    shapes = []
    try:
        shapes.append(models.model_info(model).input_shape)
    except CompressionError as error:
        problems.append(Problem("model", str(error)))
    try:
        if ":" in dataset:
            raise CompressionError(
                "a path of the server's disk is not taken over REST: name it there first, with "
                f"`stillhouse dataset add NAME {dataset}`, then give that name"
            )
        shapes.append(datasets.dataset_info(dataset).shape)
    except CompressionError as error:
        problems.append(Problem("dataset", str(error)))
    if len(shapes) == 2 and shapes[0] != shapes[1]:
        message = f"{model} takes images of {shapes[0]}, {dataset} has {shapes[1]}"
        problems.append(Problem("dataset", message))
    problems += [Problem(found.path, found.message) for found in check_recipe(recipe)]
    if problems:
        raise SpecRejected(problems)
