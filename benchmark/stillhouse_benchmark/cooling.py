"""A chip that is hot from the job before is given time: throttled, it would time the heat.

Depends on: the standard library. Clock and thermometer come in as arguments.
"""

from __future__ import annotations

from typing import Callable

# The stick's firmware begins to throttle at 70 C.
START_C = 60.0
WAIT_S = 60.0
LOOK_S = 2.0


def cool_down(
    temperature_c: Callable[[], float | None], sleep: Callable[[float], None]
) -> tuple[float | None, bool]:
    """Wait until a chip is cool, at most a minute.

    Args:
        temperature_c: Its temperature, None where it tells none: then nothing is waited for.
        sleep: Waits, seconds.

    Returns:
        The temperature to start at, and whether it is still above ``START_C``.
    """
    now_c = temperature_c()
    waited_s = 0.0
    while now_c is not None and now_c > START_C and waited_s < WAIT_S:
        sleep(LOOK_S)
        waited_s += LOOK_S
        now_c = temperature_c()
    return now_c, now_c is not None and now_c > START_C
