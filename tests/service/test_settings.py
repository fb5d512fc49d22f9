"""Settings from the environment."""

from dataclasses import fields
from pathlib import Path

import pytest

from stillhouse_service.errors import SpecRejected
from stillhouse_service.settings import Settings


def test_every_setting_can_be_set_by_its_name() -> None:
    settings = Settings.from_environment(
        {
            "STILLHOUSE_PORT": "9000",
            "STILLHOUSE_ARTIFACT_DIR": "/data/artifacts",
            "STILLHOUSE_LEASE_S": "12.5",
            "STILLHOUSE_COMPUTE": "tcp://scheduler:8786",
            "HOME": "/root",
        }
    )
    assert settings == Settings(
        port=9000,
        artifact_dir="/data/artifacts",
        lease_s=12.5,
        compute="tcp://scheduler:8786",
    )


def test_what_is_not_set_keeps_its_default() -> None:
    assert Settings.from_environment({}) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("PORT", "70000"),
        ("N_THREADS", "0"),
        ("LEASE_S", "-1"),
        ("COMPUTE", "somewhere"),
        ("MAX_ATTEMPTS", "0"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SpecRejected) as refused:
        Settings.from_environment({f"STILLHOUSE_{name}": value})
    assert name.lower() in str(refused.value).lower()
    assert value in str(refused.value)


def test_every_setting_stands_in_the_manual_with_its_default() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    rows = [line for line in manual.splitlines() if line.startswith("| `")]
    for one in fields(Settings):
        told = [line for line in rows if f"`{one.name.upper()}`" in line]
        if one.name not in ("n_threads", "lock_dir"):  # their defaults depend on the machine
            default = getattr(Settings(), one.name)
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert any(shown in row for row in told), one.name
