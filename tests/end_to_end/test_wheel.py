"""What is installed from a wheel serves from any folder, with nothing of the checkout beside it."""

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose_services import ComposeServices
from postgres_server import Postgres

from stillhouse import Client, ConnectionFailed
from stillhouse_service.demo_processes import Child, end_all, free_port, wait_for

pytestmark = pytest.mark.slow  # builds a wheel: a minute, and hatchling from the package index
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, as an installation has it; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, timeout=240)
    (wheel,) = folder.glob("stillhouse-*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(folder / "site")
    return folder / "site"


def _before(site: Path) -> str:
    """PYTHONPATH with the wheel in front of the checkout, whatever brought that."""
    return os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])


def test_an_installed_wheel_sets_up_its_database_and_serves_from_another_folder(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("PYTHONPATH", _before(site))
    where = [sys.executable, "-c", "import stillhouse_service; print(stillhouse_service.__file__)"]
    assert subprocess.check_output(where, text=True).startswith(str(site))

    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "stillhouse_service.cli", "serve", "--compute", "none"]
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    server = Child(
        "server", [*command, "--port", url.rsplit(":", 1)[1]], tmp_path / "server.log", lock
    )
    try:
        with Client(url) as client:

            def answers() -> bool:
                try:
                    return bool(client.health()["status"] == "ok")
                except ConnectionFailed:
                    return False

            wait_for("the server", answers, [server], timeout_s=120)
            assert "digits" in [dataset["name"] for dataset in client.datasets.list()]
    finally:
        end_all([server])
    assert (elsewhere / "stillhouse.db").exists()


_TEMPLATE = """\
version: 1
pruners:
  filters:
    class: L1RankedStructureParameterPruner_AGP
    group_type: Filters
    initial_sparsity: 0.05
    final_sparsity: !float {low: 0.1, high: 0.8, default: 0.3}
    weights: [conv1.weight]
policies:
  - pruner: {instance_name: filters}
    starting_epoch: 0
    ending_epoch: 2
    frequency: 1
"""


@pytest.fixture
def services(site: Path, tmp_path: Path) -> Iterator[ComposeServices]:
    postgres = Postgres()
    postgres.run("CREATE DATABASE stillhouse")
    ports = free_port(), free_port()
    environment = {"PYTHONPATH": _before(site), "STILLHOUSE_LOCK_DIR": str(tmp_path / "lock")}
    made = ComposeServices(tmp_path, postgres.url("stillhouse"), ports, environment)
    yield made
    made.stop()
    postgres.stop()


@pytest.mark.timeout(600)
def test_the_services_of_the_compose_file_run_a_study(
    services: ComposeServices, site: Path, tmp_path: Path
) -> None:
    """The steps at the top of compose.yaml, without an engine; a real device host beside them."""
    token = services.run("server", "token", "create", "me", "--scope", "admin").strip()
    for name in ("scheduler", "worker", "server"):
        services.start(name)
    url = f"http://127.0.0.1:{services.port}"
    deadline = time.monotonic() + 120
    while not services.is_healthy("server"):
        assert services.running["server"].poll() is None, services.log("server")
        assert time.monotonic() < deadline
        time.sleep(0.5)
    host = [sys.executable, "-m", "stillhouse_benchmark.worker", "--server", url, "--device", "CPU"]
    host += ["--cache-dir", str(tmp_path / "cache"), "--log-format", "json"]
    with (tmp_path / "host.log").open("wb") as log:
        environment = {**os.environ, "PYTHONPATH": _before(site), "STILLHOUSE_TOKEN": token}
        services.running["host"] = subprocess.Popen(host, env=environment, stdout=log, stderr=log)
    with Client(url, token=token) as client:
        recipe = {"epochs": 1, "effective_train_size": 0.2}
        baseline = client.baselines.create("simplenet_cifar", "digits", recipe=recipe)
        study = client.studies.create(
            {
                "name": "compose",
                "device": "CPU",
                "baseline": client.baselines.wait(baseline.id, timeout_s=300).id,
                "template": _TEMPLATE,
                "training": "epochs: 3\nlr: !float {low: 0.001, high: 0.1, default: 0.01}\n",
                "objectives": ["latency_ratio"],
                "constraints": ["top1_drop <= 1.0"],
                "budget": {"trials": 2},
                "timing": {"time_limit_s": 2.0, "max_aa_deviation": 0.5},
            }
        )
        assert study.wait(timeout_s=400).state == "finished"
        trials = [trial.state for trial in study.trials()]
    assert trials == ["complete", "complete"]
    said = json.loads(services.run("server", "doctor", "--json"))
    assert {part["name"]: part["state"] for part in said["parts"]}["compute"] == "ok", said
    leases = {line["lease"] for line in services.log("host") if "lease" in line}
    known = {line["lease"] for line in services.log("server") if "lease" in line}
    assert leases and leases <= known  # one id, from the server's log to the device's
