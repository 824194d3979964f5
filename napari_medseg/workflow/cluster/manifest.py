"""The manifest of a run, `manifest.csv` and `manifest.parquet`: one row a case, written every few seconds.

The files are made from the records of the cases; they are for people and their programs, and are never read again.
"""

import csv
import io
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import make_printable
from napari_medseg.workflow.cluster.case_records import CaseRecord
from napari_medseg.workflow.cluster.case_request import CaseRequest

MANIFEST_CSV, MANIFEST_PARQUET = "manifest.csv", "manifest.parquet"
WRITE_EVERY_S, RETRY_AFTER_S = 5.0, 60.0

Row = dict[str, Any]
logger = logging.getLogger(__name__)


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
    earlier
        Rows of cases that earlier starts finished, and that are no `requests`.
    """

    def __init__(
        self,
        folder: Path,
        requests: Sequence[CaseRequest],
        describe: Callable[[CaseRecord], Row],
        earlier: Sequence[Row] = (),
    ) -> None:
        self._folder, self._describe = folder, describe
        self._rows = [make_waiting_row(request) for request in requests]
        self._requests, self._earlier = requests, list(earlier)
        self._next_at, self._has_failed = float("-inf"), False

    def put(self, index: int, record: CaseRecord, error: str = "") -> None:
        """Note what became of a case; with `error` its labels could not be named."""
        self._rows[index] = {
            **make_waiting_row(self._requests[index]),
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
        """Write both files if the last time is `WRITE_EVERY_S` ago.

        A table that another program holds, as Excel does, must not end the cases: it is told once, and tried later.
        """
        if time.monotonic() < self._next_at:
            return
        try:
            self.write()
        except MedSegError as error:
            self._next_at = time.monotonic() + RETRY_AFTER_S
            if not self._has_failed:
                problem = str(error).rstrip(".")
                logger.warning("%s. The cases go on; the table is tried again every minute.", problem)
            self._has_failed = True

    def write(self) -> None:
        """Write both files, each whole or not at all; raise `MedSegError` if that fails."""
        rows = [*self._earlier, *self._rows]
        columns = list(dict.fromkeys(name for row in rows for name in row))
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        content = table.getvalue().encode()
        with atomic_write(self._folder / MANIFEST_CSV) as beside:
            beside.write_bytes(content)
        self._write_parquet(rows, content)
        self._next_at = time.monotonic() + WRITE_EVERY_S

    def _write_parquet(self, rows: Sequence[Row], content: bytes) -> None:
        """Write the table from its CSV: Arrow reads that itself, and would import pandas to read Python's lists."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv
        from pyarrow import parquet

        texts = {name: pa.string() for row in rows for name, value in row.items() if isinstance(value, str)}
        convert = arrow_csv.ConvertOptions(column_types=texts, null_values=[""], strings_can_be_null=False)
        parse = arrow_csv.ParseOptions(newlines_in_values=True)
        read = arrow_csv.ReadOptions(block_size=len(content) + 1)  # one block: types are those of all rows
        table = arrow_csv.read_csv(io.BytesIO(content), read, parse, convert) if rows else pa.table({})
        with atomic_write(self._folder / MANIFEST_PARQUET) as beside:
            parquet.write_table(table, beside)


def make_waiting_row(request: CaseRequest) -> Row:
    """Return the row of a case that nobody has begun."""
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
