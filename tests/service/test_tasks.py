"""A task on a real Dask worker, and how it ends with it."""

from queue import Queue

import distributed

from stillhouse_service.cluster import Surroundings
from stillhouse_service.stage_log import StageLog
from stillhouse_service.tasks import _Watch

# The worker is in this process: whether the watch lives, and cancels.
_FOUND: Queue[tuple[bool, bool]] = Queue()


def _closed_in_the_middle() -> None:
    """What a worker that ends does while its task runs."""
    around = Surroundings("lse_1", "job_1", "", 1, 0.0, "", 1, 0.0)
    with _Watch(around, StageLog()) as watch:
        distributed.get_client().close()  # type: ignore[no-untyped-call]
        watch._thread.join(20)
        _FOUND.put((watch._thread.is_alive(), watch.is_cancelled()))


def test_a_task_whose_worker_ends_is_watched_to_the_end_without_an_error() -> None:
    with (
        distributed.LocalCluster(  # type: ignore[no-untyped-call]  # distributed is untyped
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=""
        ) as cluster,
        distributed.Client(cluster) as client,  # type: ignore[no-untyped-call]
    ):
        future = client.submit(_closed_in_the_middle)
        # An error in the watch's thread would fail this test: a warning about it does.
        assert _FOUND.get(timeout=60) == (False, False)
        del future
