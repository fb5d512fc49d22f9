"""Tables as Parquet files, where pyarrow is installed.

Depends on: pyarrow, on use (extra `parquet`).
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from stillhouse_service.errors import ExtraMissing

MEDIA_TYPE = "application/vnd.apache.parquet"


def check_parquet() -> None:
    """Make sure that Parquet can be written.

    Raises:
        ExtraMissing: It cannot.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ExtraMissing(
            "this server cannot write Parquet: install pyarrow where it runs "
            "(pip install 'stillhouse[parquet]'), or ask for format=csv"
        )


def parquet_pieces(
    columns: Mapping[str, str], batches: Iterable[Sequence[Mapping[str, Any]]]
) -> Iterator[bytes]:
    """Write a table, a row group for each batch; never more than one of them in memory.

    Args:
        columns: Name -> `string`, `double`, `int64`, `bool`, `timestamp` (UTC) or `duration`.
        batches: Rows; columns that a row leaves out are null.

    Raises:
        ExtraMissing: pyarrow is not installed.
    """
    check_parquet()
    import pyarrow as pa  # type: ignore[import-untyped]  # has no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]  # has no types

    kinds = {
        "string": pa.string(),
        "double": pa.float64(),
        "int64": pa.int64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "duration": pa.duration("us"),
    }
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    out = _Outbox()
    with pq.ParquetWriter(pa.PythonFile(out, mode="w"), schema) as writer:
        for rows in batches:
            arrays = [
                pa.array([row.get(name) for row in rows], type=kinds[kind])
                for name, kind in columns.items()
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield out.taken()
    yield out.taken()


class _Outbox(io.RawIOBase):
    """A file that only grows; what has been written may be taken away."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._n_bytes = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._n_bytes

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._n_bytes += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        """Give what was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
