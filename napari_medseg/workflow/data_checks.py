"""What to look at before a model learns: slips in the labels, cases accepted unseen, hold-out images among the lessons.

`evidence` reads the database in the main thread; `checked` touches files only and may run in a worker thread. What was
found in a correction is kept beside the project, as a correction never changes.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from pydantic import TypeAdapter, ValidationError

from napari_medseg.core.atomic_io import write_text
from napari_medseg.core.formats.decode_errors import whole_file
from napari_medseg.core.project.case_files import read_copy, read_labels
from napari_medseg.core.project.review_region_files import read_reviewed
from napari_medseg.core.quality.image_fingerprint import ALIKE_ABOVE, Fingerprint, fingerprint, likeness
from napari_medseg.core.quality.label_checks import Finding, check_labels
from napari_medseg.core.quality.label_mixups import Sketch, mixed_up, sketch
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks import Task
from napari_medseg.workflow.cases import corrections_in_force
from napari_medseg.workflow.workspace import Workspace

CHECKS_FOLDER = "checks-2"
"""The number grows when a check is added or changed, so that older answers are not believed."""
UNSEEN_S = 2.0

MIXED = "mixed"

_FINDINGS = TypeAdapter(list[Finding])


@dataclass(frozen=True)
class Evidence:
    """A correction in force, with the case that it is of, and what was to be labelled."""

    task: Task
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


@dataclass(frozen=True)
class _Look:
    """What looking at one correction gives."""

    findings: list[Finding]
    print: Fingerprint
    sketch: Sketch


def evidence(ws: Workspace, task: str) -> tuple[Evidence, ...]:
    """Return what is to be checked: each case's correction that a run would see."""
    wanted = ws.tasks.named(task)
    return tuple(Evidence(wanted, case, correction) for case, correction in corrections_in_force(ws, task))


def findings(ws: Workspace, task: str) -> list[CaseFinding]:
    """Check the corrections of a task; those that must not train a model come first.

    Raises
    ------
    MedSegError
        If a file of the project is gone or damaged.
    """
    return in_order([one for found in checked(ws.project.folder, evidence(ws, task)) for one in found])


def doubt_of(found: Sequence[CaseFinding]) -> str:
    """Say why no verdict on a model that learns from these corrections is to be believed; empty where it is."""
    mixed = [one.case.name for one in found if one.finding.kind == MIXED]
    more = ", ..." if len(mixed) > 2 else ""
    return f"labels seem to be mixed up between cases ({', '.join(mixed[:2])}{more})" if mixed else ""


def in_order(found: Sequence[CaseFinding]) -> list[CaseFinding]:
    """Put what must not train a model first."""
    return sorted(found, key=lambda one: not one.finding.blocking)


def checked(folder: Path, pieces: Sequence[Evidence]) -> Generator[list[CaseFinding]]:
    """Yield what is found in each correction, and at last what is found between them.

    Parameters
    ----------
    folder
        Of the project.
    pieces
        From `evidence`.
    """
    prints: dict[int, Fingerprint] = {}
    sketches: list[Sketch] = []
    for piece in pieces:
        look = _looked_at(folder, piece)
        prints[piece.case.id] = look.print
        sketches.append(look.sketch)
        yield [CaseFinding(piece.case, finding) for finding in [*look.findings, *_unseen(piece.correction)]]
    if not any(piece.task.field for piece in pieces):  # outlines of what lies in a field are seldom steep
        yield _mixed_up([piece.case for piece in pieces], sketches)
    held_out = [piece.case for piece in pieces if piece.case.held_out]
    learnt = [piece.case for piece in pieces if not piece.case.held_out]
    for case in learnt:
        yield [CaseFinding(case, finding) for finding in _duplicates(case, held_out, prints)]


def _unseen(correction: Correction) -> list[Finding]:
    if not correction.model or correction.changed_voxels or correction.seconds >= UNSEEN_S:
        return []
    text = f"accepted unchanged after {correction.seconds:.1f} s: was it looked at?"
    return [Finding("unseen", text, blocking=False)]


def _mixed_up(cases: Sequence[Case], sketches: Sequence[Sketch]) -> list[CaseFinding]:
    """Find labels that fit another's picture."""
    return [
        CaseFinding(
            cases[own],
            Finding(MIXED, f"the labels of {cases[other].name} fit its picture better: mixed up?", blocking=False),
        )
        for own, other in mixed_up(sketches).items()
    ]


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


def _looked_at(folder: Path, piece: Evidence) -> _Look:
    """Return what is known of a correction, from earlier if it was looked at before."""
    correction = piece.correction
    names = (piece.case.content_hash, correction.sha256, correction.reviewed_sha256)
    kept = folder / CHECKS_FOLDER / "-".join(name[:16] for name in names if name)
    known, drawn = _read_findings(kept.with_suffix(".json")), _read_look(kept.with_suffix(".npz"))
    if known is not None and drawn is not None:
        return _Look(known, *drawn)
    image = read_copy(folder, piece.case)
    labels = read_labels(folder, piece.case, correction)
    if (seen := read_reviewed(folder, piece.case, correction)) is not None:
        labels = np.where(seen, labels, 0)  # no run learns from the rest
    look = _Look(check_labels(labels, piece.task, image), fingerprint(image), sketch(image, labels))
    with whole_file(kept.with_suffix(".npz")) as beside:
        np.savez(
            beside,
            digest=np.array(look.print.digest),
            planes=look.print.planes,
            steepness=look.sketch.steepness,
            outline=look.sketch.outline,
        )
    write_text(kept.with_suffix(".json"), _FINDINGS.dump_json(look.findings).decode())
    return look


def _read_findings(path: Path) -> list[Finding] | None:
    try:
        return _FINDINGS.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _read_look(path: Path) -> tuple[Fingerprint, Sketch] | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Fingerprint(str(kept["digest"]), kept["planes"]), Sketch(kept["steepness"], kept["outline"])
    except (OSError, ValueError, KeyError, BadZipFile):
        return None
