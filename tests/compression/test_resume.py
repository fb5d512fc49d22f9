"""A baseline that was killed goes on to the same bytes, and says what it is."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.model_card import card_text
from stillhouse_compression.training import Recipe

RECIPE = {"epochs": 3, "lr": 0.05, "effective_train_size": 0.3}
PROGRAM = """
import sys, time
from pathlib import Path
from stillhouse_compression.baseline import train_baseline
from stillhouse_compression.hooks import Hooks
from stillhouse_compression.training import Recipe

recipe = Recipe.from_mapping({recipe})
n = 0

def is_cancelled():  # asked before every minibatch
    global n
    n += 1
    if n == 16:  # the second epoch: an epoch has ten minibatches and two of evaluation
        print("in the second epoch", flush=True)
        time.sleep(60)
    return False

hooks = Hooks(is_cancelled=is_cancelled, save_checkpoint=Path(sys.argv[1]).write_bytes)
train_baseline("simplenet_cifar", "digits", recipe, 5, hooks, n_threads=1)
"""


@pytest.mark.slow  # three trainings; the fast suite takes one up after a whole epoch
def test_a_training_killed_within_an_epoch_ends_in_the_same_bytes(
    tmp_path: Path,
) -> None:
    recipe = Recipe.from_mapping(RECIPE)
    whole = train_baseline("simplenet_cifar", "digits", recipe, 5, n_threads=1)
    path = tmp_path / "state.pt"
    program = PROGRAM.replace("{recipe}", repr(RECIPE))
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "in the second epoch"
        os.kill(process.pid, signal.SIGKILL)
    saved = path.read_bytes()  # the first epoch's state is there
    told: list[object] = []
    hooks = Hooks(progress=lambda one: told.append(one["epoch"]), load_checkpoint=lambda: saved)
    again = train_baseline("simplenet_cifar", "digits", recipe, 5, hooks, n_threads=1)
    assert told == [1, 2, 3, 3]  # resumed after one epoch, two more, export
    assert again.weights == whole.weights
    assert again.onnx == whole.onnx
    assert (again.history, again.metrics) == (whole.history, whole.metrics)


def test_the_model_card_says_what_it_is_and_which_split_is_which() -> None:
    recipe = Recipe.from_mapping({"epochs": 1, "effective_train_size": 0.05})
    whole = train_baseline("simplenet_cifar", "digits", recipe, 5, n_threads=1)
    card = json.loads(json.dumps(whole.card))
    assert card["split_hash"].startswith("3749c6cd68153b47")  # pinned by test_datasets
    assert (card["seed"], card["dataset"], card["splits"]["test"]) == (5, "digits", 497)
    assert card["metrics"]["test_top1"] == whole.metrics["test_top1"]
    assert {"python", "torch", "numpy", "stillhouse"} <= set(card["versions"])
    text = card_text(card)
    assert (
        f"| validation | choosing the checkpoint | {100 * whole.metrics['validation_top1']:.2f} %"
        in text
    )
    assert "| test | this report alone |" in text
    assert card["split_hash"] in text and "62,006 parameters" in text
