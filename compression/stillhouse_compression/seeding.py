"""One seed for everything that draws, and one thread count: the two that results depend on.

Depends on: numpy, torch.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(seed: int, n_threads: int | None) -> Iterator[None]:
    """Seed Python's, numpy's and torch's global generators; put all of it back afterwards.

    Pruners of the original draw from the global generators, so all of them are seeded.
    cuDNN is held to deterministic kernels.

    Args:
        seed: Any integer; taken modulo 2**32.
        n_threads: Threads of torch's CPU kernels; None leaves them. Sums depend on it.
    """
    seed %= 2**32
    python_state, numpy_state, torch_state = (
        random.getstate(),
        np.random.get_state(),
        torch.get_rng_state(),
    )
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    n_threads_before = torch.get_num_threads()
    cudnn = torch.backends.cudnn
    cudnn_before = (cudnn.deterministic, cudnn.benchmark)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    cudnn.deterministic, cudnn.benchmark = True, False
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
        cudnn.deterministic, cudnn.benchmark = cudnn_before
        torch.set_num_threads(n_threads_before)
