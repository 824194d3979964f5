"""What to look at before a model learns: slips in the labels, cases accepted unseen, hold-out images among the lessons.

`evidence` reads the database in the main thread; `checked` touches files only and may run in a worker thread. What was
found in a correction is kept beside the project, as a correction never changes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter, ValidationError

from napari_medseg.core.checks import Finding, check_labels
from napari_medseg.core.durable import write_text
from napari_medseg.core.fingerprints import ALIKE_ABOVE, Fingerprint, fingerprint, likeness
from napari_medseg.core.formats.guard import whole_file
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks import task_named
from napari_medseg.workflow.cases import corrections_in_force
from napari_medseg.workflow.copies import read_copy, read_labels
from napari_medseg.workflow.workspace import Workspace

CHECKS_FOLDER = "checks-1"
"""The number grows when a check is added or changed, so that older answers are not believed."""
UNSEEN_S = 2.0

_FINDINGS = TypeAdapter(list[Finding])


@dataclass(frozen=True)
class Evidence:
    """A correction in force, with the case that it is of."""

    case: Case
    correction: Correction


@dataclass(frozen=True)
class CaseFinding:
    """One finding and the case to open because of it."""

    case: Case
    finding: Finding

    @property
    def text(self) -> str:
        """The finding with the name of its case."""
        return f"{self.case.name}: {self.finding.text}"


def evidence(ws: Workspace, task: str) -> tuple[Evidence, ...]:
    """Return what is to be checked: each case's correction that a run would see."""
    return tuple(Evidence(case, correction) for case, correction in corrections_in_force(ws, task))


def findings(ws: Workspace, task: str) -> list[CaseFinding]:
    """Check the corrections of a task; those that must not train a model come first.

    Raises
    ------
    MedSegError
        If a file of the project is gone or damaged.
    """
    return in_order([one for found in checked(ws.project.folder, evidence(ws, task)) for one in found])


def in_order(found: Sequence[CaseFinding]) -> list[CaseFinding]:
    """Put what must not train a model first."""
    return sorted(found, key=lambda one: not one.finding.blocking)


def checked(folder: Path, pieces: Sequence[Evidence]) -> Iterator[list[CaseFinding]]:
    """Yield what is found in each correction, and at last what is found between them.

    Parameters
    ----------
    folder
        Of the project.
    pieces
        From `evidence`.
    """
    prints: dict[int, Fingerprint] = {}
    for piece in pieces:
        label_findings, prints[piece.case.id] = _looked_at(folder, piece)
        yield [CaseFinding(piece.case, finding) for finding in [*label_findings, *_unseen(piece.correction)]]
    held_out = [piece.case for piece in pieces if piece.case.held_out]
    learnt = [piece.case for piece in pieces if not piece.case.held_out]
    for case in learnt:
        yield [CaseFinding(case, finding) for finding in _duplicates(case, held_out, prints)]


def _unseen(correction: Correction) -> list[Finding]:
    if not correction.model or correction.changed_voxels or correction.seconds >= UNSEEN_S:
        return []
    text = f"accepted unchanged after {correction.seconds:.1f} s: was it looked at?"
    return [Finding("unseen", text, blocking=False)]


def _duplicates(case: Case, held_out: Sequence[Case], prints: dict[int, Fingerprint]) -> list[Finding]:
    """Find hold-out images that this one repeats: a model would be judged by what it has learnt."""
    found = []
    for other in held_out:
        if prints[case.id].digest == prints[other.id].digest:
            text = f"the same picture as {other.name} in the hold-out: reject one of them, or hold out both"
            found.append(Finding("duplicate", text, blocking=True))
        elif likeness(prints[case.id], prints[other.id]) > ALIKE_ABOVE:
            text = f"looks the same as {other.name} in the hold-out, saved once more: if so, reject one of them"
            found.append(Finding("duplicate", text, blocking=False))
    return found


def _looked_at(folder: Path, piece: Evidence) -> tuple[list[Finding], Fingerprint]:
    """Return what is known of a correction, from earlier if it was looked at before."""
    kept = folder / CHECKS_FOLDER
    told = kept / f"{piece.case.content_hash[:16]}-{piece.correction.sha256[:16]}.json"
    known, seen = _read_findings(told), _read_print(kept, piece.case)
    if known is None or seen is None:
        image = read_copy(folder, piece.case)
        seen = seen or _keep_print(kept, piece.case, image)
        labels = read_labels(folder, piece.case, piece.correction)
        known = check_labels(labels, task_named(piece.case.task), image)
        write_text(told, _FINDINGS.dump_json(known).decode())
    return known, seen


def _read_findings(path: Path) -> list[Finding] | None:
    try:
        return _FINDINGS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _keep_print(folder: Path, case: Case, image: Image) -> Fingerprint:
    made = fingerprint(image)
    with whole_file(folder / f"{case.content_hash}.npz") as beside:
        np.savez(beside, digest=np.array(made.digest), planes=made.planes)
    return made


def _read_print(folder: Path, case: Case) -> Fingerprint | None:
    try:
        with np.load(folder / f"{case.content_hash}.npz", allow_pickle=False) as kept:
            return Fingerprint(str(kept["digest"]), kept["planes"])
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
