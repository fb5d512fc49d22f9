"""``python -m stillhouse_benchmark`` is ``stillhouse-worker``."""

import sys

from stillhouse_benchmark.worker import main

sys.exit(main())
