"""A device that fails job after job is left alone until it passes a test.

Depends on: the standard library.
"""

from __future__ import annotations

import logging
import subprocess
from typing import Callable

from stillhouse_benchmark.errors import BenchmarkError
from stillhouse_benchmark.supervise import InferenceChild

log = logging.getLogger("stillhouse.worker")
SICK_CLASSES = ("device-fault", "timeout", "out-of-memory")
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 300.0
TEST_LIMIT_S = 60.0
RESET_LIMIT_S = 60.0


class Quarantine:
    """Counts a device's failures and decides when it must prove itself.

    Args:
        device: Its name.
        runtime: As ``load_backend`` takes it.
        max_failures: Failures in a row, of the classes that speak of the device, until then.
        reset_command: Run before every test, for example one that cuts the stick's USB power.
        wait: Waits so many seconds; returns true when told to stop meanwhile.
    """

    def __init__(
        self,
        device: str,
        runtime: str,
        max_failures: int,
        reset_command: str | None,
        wait: Callable[[float], bool],
    ) -> None:
        self._device = device
        self._runtime = runtime
        self._max_failures = max_failures
        self._reset_command = reset_command
        self._wait = wait
        self._n_failures = 0

    def tell(self, failure_class: str | None) -> None:
        """A job ended; None stands for a result."""
        if failure_class is None:
            self._n_failures = 0
        elif failure_class in SICK_CLASSES:
            self._n_failures += 1

    @property
    def is_needed(self) -> bool:
        """Whether the device failed too often in a row."""
        return self._n_failures >= self._max_failures

    def sit_out(self) -> bool:
        """Reset and test until the device is well; returns false when told to stop before."""
        log.error("device %s failed %d jobs in a row", self._device, self._n_failures)
        wait_s = FIRST_WAIT_S
        while True:
            self._reset()
            problem = self._test()
            if problem is None:
                log.info("device %s passed its self-test", self._device)
                self._n_failures = 0
                return True
            log.error(
                "device %s fails its self-test: %s; next in %g s", self._device, problem, wait_s
            )
            if self._wait(wait_s):
                return False
            wait_s = min(LONGEST_WAIT_S, wait_s * 2.0)

    def _reset(self) -> None:
        if not self._reset_command:
            return
        try:
            done = subprocess.run(
                self._reset_command, shell=True, timeout=RESET_LIMIT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.error("reset command: %s", error)
        else:
            log.info("reset command ended with code %d", done.returncode)

    def _test(self) -> str | None:
        """What is wrong with the device, None when it is well."""
        child = InferenceChild(self._runtime)
        try:
            child.self_test(self._device, TEST_LIMIT_S)
        except BenchmarkError as error:
            return str(error)
        finally:
            child.kill()
        return None
