"""Your own loop, your own device: the optimizer alone, over HTTP.

    stillhouse serve --compute none &
    python examples/outside/loop.py

Minimises `loss` while `size_kb` stays at most 50, over a space of three parameters. Put your own
training or measurement in `run`; start as many of these loops as you have machines.
"""

import os

from stillhouse import Client

STUDY = {
    "name": "my own loop",
    "runner": "outside",
    "parameters": [
        {"name": "width", "kind": "float", "low": 0.0, "high": 1.0, "default": 0.5},
        {"name": "lr", "kind": "float", "low": 1e-4, "high": 1e-1, "log": True, "default": 1e-2},
        {"name": "activation", "kind": "choice", "choices": ["relu", "tanh"], "default": "relu"},
    ],
    "objectives": ["loss"],  # smaller is better
    "constraints": ["size_kb <= 50"],
    "budget": {"trials": int(os.environ.get("TRIALS", "20"))},
    "optimizer": {"n_initial": 8},
}


def run(config):
    """What takes hours in your case; here a formula whose best is known: width 0.5, relu."""
    loss = (config["width"] - 0.8) ** 2 + (0.0 if config["activation"] == "relu" else 0.2)
    return {"loss": loss, "size_kb": 100.0 * config["width"]}


def main():
    with Client(os.environ.get("STILLHOUSE_SERVER", "http://127.0.0.1:8470")) as client:
        study = client.studies.create(STUDY)
        while asked := client.studies.ask(study.id, lease_s=600):
            (trial,) = asked
            try:
                client.trials.tell(trial, run(dict(trial.config)))
            except ArithmeticError as error:
                client.trials.tell_failure(trial, str(error), "diverged")
        study = client.studies.wait(study.id, poll_s=0.2)
        best = client.trials.get(study.incumbent["trial_id"])
        print(f"best: {dict(best.config)}, {dict(best.metrics)}")


if __name__ == "__main__":
    main()
