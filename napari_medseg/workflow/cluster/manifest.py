"""The manifest of a run, `manifest.csv` and `manifest.parquet`: one row a case, written every few seconds.

The files are made from the records of the cases; they are for people and their programs, and are never read again.
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.file_names import make_printable
from napari_medseg.workflow.cluster.case_records import CaseRecord
from napari_medseg.workflow.cluster.case_request import CaseRequest

MANIFEST_CSV, MANIFEST_PARQUET = "manifest.csv", "manifest.parquet"
WRITE_EVERY_S = 5.0

Row = dict[str, Any]


class Manifest:
    """The rows of the cases of a command, in their order.

    Parameters
    ----------
    folder
        Output folder.
    requests
        The cases; all wait at first.
    describe
        Returns the columns that the kind of task adds to those of all records.
    """

    def __init__(self, folder: Path, requests: Sequence[CaseRequest], describe: Callable[[CaseRecord], Row]) -> None:
        self._folder, self._describe = folder, describe
        self._rows = [_make_waiting_row(request) for request in requests]
        self._requests = requests
        self._written_at = float("-inf")

    def put(self, index: int, record: CaseRecord, error: str = "") -> None:
        """Note what became of a case; with `error` its labels could not be named."""
        self._rows[index] = {
            **_make_waiting_row(self._requests[index]),
            "state": "failed" if error else record.state,
            "labels_file": record.labels_file,
            "content_sha256": record.content_sha256,
            "seconds": record.seconds,
            "starts": record.n_starts,
            "worker": record.worker,
            "error": error or record.error,
            **self._describe(record),
        }

    def write_sometimes(self) -> None:
        """Write both files if the last time is `WRITE_EVERY_S` ago."""
        if time.monotonic() - self._written_at > WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write both files, each whole or not at all; raise `MedSegError` if that fails."""
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns, restval="")
        writer.writeheader()
        writer.writerows(self._rows)
        content = table.getvalue().encode()
        with atomic_write(self._folder / MANIFEST_CSV) as beside:
            beside.write_bytes(content)
        self._write_parquet(content)
        self._written_at = time.monotonic()

    def _write_parquet(self, content: bytes) -> None:
        """Write the table from its CSV: Arrow reads that itself, and would import pandas to read Python's lists."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet

        texts = {name: pa.string() for row in self._rows for name, value in row.items() if isinstance(value, str)}
        convert = arrow_csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=False)
        parse = arrow_csv.ParseOptions(newlines_in_values=True)
        read = arrow_csv.ReadOptions(block_size=len(content) + 1)  # one block: types are those of all rows
        table = arrow_csv.read_csv(io.BytesIO(content), read, parse, convert) if self._rows else pa.table({})
        with atomic_write(self._folder / MANIFEST_PARQUET) as beside:
            parquet.write_table(table, beside)


def _make_waiting_row(request: CaseRequest) -> Row:
    model = request.model
    return {
        "path": make_printable(request.paths[0]),
        "files": len(request.paths),
        "state": "waiting",
        "labels_file": "",
        "content_sha256": "",
        "model": "" if model is None else model.model,
        "weights_sha256": "" if model is None else model.weights_sha256,
        "seconds": None,
        "starts": 0,
        "worker": "",
        "error": "",
    }
