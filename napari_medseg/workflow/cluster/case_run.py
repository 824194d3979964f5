"""A run over many cases: what earlier starts did is kept, the rest is spread, and every case ends in its turn."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.cluster.case_records import CaseRecord, CaseRecords
from napari_medseg.workflow.cluster.case_request import CaseRequest
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.manifest import Manifest
from napari_medseg.workflow.cluster.spreading import spread


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    `n_kept` cases were done before, `n_repeated` failed before and are done again. `seconds_left` is `None` while no
    case of this start has ended; `per_minute` counts those only.
    """

    done: int
    total: int
    n_failed: int
    n_kept: int
    n_repeated: int
    per_minute: float = 0.0
    seconds_left: float | None = None


@dataclass(frozen=True, eq=False)
class CaseKind:
    """What the cases of a command are.

    Parameters
    ----------
    task
        Runs one case on a worker and returns its record as plain data.
    is_complete
        Whether all files of a case whose record says done are still there.
    finish
        Called in the order of the cases, whatever the order in which they ended: gives the case its final name. Returns
        the record; raises `MedSegError` if that fails.
    """

    task: Callable[[CaseRequest], dict[str, Any]]
    is_complete: Callable[[CaseRecord], bool]
    finish: Callable[[int, CaseRecord], CaseRecord]


class CaseRun:
    """The cases of a command.

    Parameters
    ----------
    cluster
        The workers.
    records
        Those of the output folder, which the caller holds.
    requests
        The cases, in order.
    kind, manifest
        What the cases are, and the table of them.
    refuse
        Returns why a case, by its index, is not to be done; empty if it is.
    """

    def __init__(
        self,
        cluster: Cluster,
        records: CaseRecords,
        requests: Sequence[CaseRequest],
        kind: CaseKind,
        manifest: Manifest,
        refuse: Callable[[int], str] = lambda index: "",
    ) -> None:
        self._cluster, self._records, self.requests = cluster, records, requests
        self._kind, self._manifest = kind, manifest
        self.records_of: list[CaseRecord | None] = [None] * len(requests)
        self.errors: list[str] = [""] * len(requests)
        self._ended: dict[int, CaseRecord] = {}
        self._n_finished, self._began = 0, time.monotonic()
        self._left: list[int] = []
        self.n_kept = self.n_repeated = self._n_failed = self._n_now = 0
        for index, request in enumerate(requests):
            self._sort_out(index, request, refuse)

    def run(self) -> Iterator[RunProgress]:
        """Do what is left; yield after each case. Close it to stop: what is done stays.

        Raises
        ------
        MedSegError
            If the scheduler is lost, no worker is fit, or the output folder cannot be written to.
        """
        self._finish_in_turn()
        yield self._report()
        try:
            yield from self._run_left()
        except BaseException:  # also when it is closed
            with contextlib.suppress(MedSegError):  # must not hide what ended the run
                self._manifest.write()
            raise
        self._write_last_manifest()

    def _write_last_manifest(self) -> None:
        try:
            self._manifest.write()
        except MedSegError as error:
            raise MedSegError(
                f"{str(error).rstrip('.')}. The cases have ended, and what is done stays. Close the table in other "
                "programs, then give the same command: it writes the table."
            ) from error

    def _run_left(self) -> Iterator[RunProgress]:
        """Spread what is left, and finish each case in its turn."""
        arguments = [(self.requests[index],) for index in self._left]
        for ended in spread(self._cluster, self._kind.task, arguments, in_batches=True):
            index = self._left[ended.index]
            self._ended[index] = self._take(self.requests[index], ended.answer, ended.problem)
            self._n_failed += self._ended[index].state == "failed"
            self._n_now += 1
            self._finish_in_turn()
            self._manifest.write_sometimes()
            yield self._report()

    def _sort_out(self, index: int, request: CaseRequest, refuse: Callable[[int], str]) -> None:
        """Decide whether a case is kept, refused, or done (again)."""
        known = self._records.read(request.key)
        is_same = known is not None and known.fingerprint == request.fingerprint
        if known is not None and is_same and known.state == "done" and self._kind.is_complete(known):
            self._ended[index] = known
            self.n_kept += 1
            return
        if error := refuse(index):
            self._ended[index] = _make_failed_record(request, error)
            self._n_failed += 1
            return
        self.n_repeated += known is not None and is_same and known.state == "failed"
        if known is not None:  # else a worker would take it for the answer
            self._records.remove(request.key)
        self._left.append(index)

    def _take(self, request: CaseRequest, answer: dict[str, Any] | None, problem: str) -> CaseRecord:
        if answer is not None:
            return CaseRecord.model_validate(answer)
        record = _make_failed_record(request, problem)
        self._records.write(record)
        return record

    def _finish_in_turn(self) -> None:
        """Finish the cases whose turn it is: names of files do not depend on which worker was faster."""
        while self._n_finished in self._ended:
            index = self._n_finished
            record, error = self._ended.pop(index), ""
            if record.state == "done":
                try:
                    record = self._kind.finish(index, record)
                except MedSegError as failed:
                    error = str(failed)
            self.records_of[index], self.errors[index] = record, error or record.error
            self._manifest.put(index, record, error)
            self._n_finished += 1

    def _report(self) -> RunProgress:
        total, seconds = len(self.requests), time.monotonic() - self._began
        n_left = len(self._left) - self._n_now
        left = n_left * seconds / self._n_now if self._n_now else None
        return RunProgress(
            total - n_left,
            total,
            self._n_failed,
            self.n_kept,
            self.n_repeated,
            60.0 * self._n_now / max(seconds, 1e-6),
            left,
        )


def _make_failed_record(request: CaseRequest, error: str) -> CaseRecord:
    path = str(Path(request.paths[0])).encode("utf-8", "backslashreplace").decode()
    return CaseRecord(
        key=request.key, fingerprint=request.fingerprint, path=path, state="failed", error=error, n_starts=0
    )
