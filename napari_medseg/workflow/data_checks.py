"""Checks before training: label errors, cases accepted without review, and hold-out images among the training cases.

`list_corrections_to_check` reads the database in the main thread. `iter_findings` only accesses files and may run in a
worker thread. What was found about a correction is kept in the project folder, because a correction never changes.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.grouping.keyed_groups import find_group_noun
from napari_medseg.core.project.case_files import read_case_labels, read_image_copy
from napari_medseg.core.project.review_region import read_reviewed_pixels
from napari_medseg.core.quality.label_checks import Finding, check_labels
from napari_medseg.core.quality.label_mixups import EdgeThumbnail, find_label_mixups, make_edge_thumbnail
from napari_medseg.core.quality.label_set_checks import (
    CONSTANT,
    NOTHING_TO_LEARN,
    LabelContent,
    check_label_set,
    summarise_labels,
)
from napari_medseg.core.quality.shared_content import Likeness
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.snapshot import Role, SnapshotItem
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.cases import list_current_corrections
from napari_medseg.workflow.findings.case_finding import CaseFinding, read_dismissed, select_findings
from napari_medseg.workflow.findings.certain_voxels import CertainVoxels, find_certain_voxels
from napari_medseg.workflow.findings.kept_checks import CorrectionCheck, KeptChecks
from napari_medseg.workflow.hold_out.content_check import find_replayed_copies, iter_shared_cases
from napari_medseg.workflow.hold_out.replayed import list_replayed_images
from napari_medseg.workflow.workspace import Workspace

UNSEEN_S = 2.0

LABEL_MIXUP = "mixed"
DAMAGED_FILE = "file"
"""Kind of a finding: the labels, or the image beside them, are missing or damaged."""

CHECKS_VERSION = "3"
"""In the names of kept results; a change of what is a finding needs another one."""


@dataclass(frozen=True)
class CorrectionToCheck:
    """A current correction with its case and task."""

    task: Task
    case: Case
    correction: Correction


@dataclass(frozen=True)
class CheckedCorrections:
    """The findings of `iter_findings` in some corrections, also those that a person said to be right."""

    corrections: tuple[CorrectionToCheck, ...]
    found: tuple[CaseFinding, ...]


def list_corrections_to_check(ws: Workspace, task: str) -> tuple[CorrectionToCheck, ...]:
    """Return the current correction of each case that a run would use."""
    wanted = ws.tasks.get_task(task)
    return tuple(CorrectionToCheck(wanted, case, correction) for case, correction in list_current_corrections(ws, task))


def check_corrections(ws: Workspace, task: str, checked: CheckedCorrections | None = None) -> list[CaseFinding]:
    """Check the corrections of a task; findings that block training come first.

    What a person said to be right is left out. `checked` is a check that was made before: it is used if the corrections
    are still the same. A missing or damaged file of the project is a finding of its case.
    """
    pieces = list_corrections_to_check(ws, task)
    if checked is None or checked.corrections != pieces:
        checked = find_problems(ws, task)
    return select_findings(checked.found, read_dismissed(ws), len(pieces))


def find_problems(ws: Workspace, task: str) -> CheckedCorrections:
    """Check the corrections of a task, also for what a person said to be right."""
    pieces, replayed = list_corrections_to_check(ws, task), list_replayed_images(ws, task)
    found = [one for some in iter_findings(ws.project.folder, pieces, replayed) for one in some]
    return CheckedCorrections(pieces, tuple(found))


def describe_label_mixups(findings: Sequence[CaseFinding]) -> str:
    """Return why a model trained on these corrections cannot be evaluated reliably; empty if it can."""
    mixed = [one.case.name for one in findings if one.finding.kind == LABEL_MIXUP and one.case is not None]
    more = ", ..." if len(mixed) > 2 else ""
    return f"labels seem to be mixed up between cases ({', '.join(mixed[:2])}{more})" if mixed else ""


def iter_findings(
    folder: Path, corrections: Sequence[CorrectionToCheck], replayed: Sequence[SnapshotItem] = ()
) -> Generator[list[CaseFinding]]:
    """Yield the findings of each correction, then the findings from comparisons between corrections.

    A correction whose files are missing or damaged is a blocking finding, and is not compared with others.

    Parameters
    ----------
    folder
        Project folder.
    corrections
        From `list_corrections_to_check`.
    replayed
        Older images that a run would replay, from `list_replayed_images`.
    """
    sketches: list[EdgeThumbnail] = []
    contents: list[tuple[Role, LabelContent]] = []
    sound: list[CorrectionToCheck] = []
    with KeptChecks(folder) as kept:
        for piece in corrections:
            try:
                look = read_correction_check(folder, kept, piece)
            except MedSegError as error:
                yield [_add_case(piece, Finding(DAMAGED_FILE, str(error), blocking=True))]
                continue
            sound.append(piece)
            sketches.append(look.sketch)
            contents.append((Role.HOLD_OUT if piece.case.held_out else Role.TRAIN, look.content))
            yield [_add_case(piece, finding) for finding in [*look.findings, *_check_unseen(piece.correction)]]
    if not any(piece.task.field for piece in sound):  # label edges inside an ROI often have low contrast
        yield _check_mixups(sound, sketches)
    if sound:
        yield _check_whole_set(sound[0].task, contents)
    held_out = [piece.case for piece in sound if piece.case.held_out]
    learnt = [piece for piece in sound if not piece.case.held_out]
    yield from _check_copies(folder, learnt, held_out)
    labels_of = {piece.case.id: piece for piece in sound}
    for item in replayed:
        yield _check_replayed(folder, item, held_out, labels_of)


def _add_case(piece: CorrectionToCheck, finding: Finding) -> CaseFinding:
    return CaseFinding(piece.case, finding, piece.correction.sha256)


def _check_whole_set(task: Task, contents: Sequence[tuple[Role, LabelContent]]) -> list[CaseFinding]:
    """Find labels that do not occur. Corrections without any label may be trained on if older images are replayed."""
    findings = []
    for one in check_label_set(task, contents):
        text = one.text
        if one.kind == NOTHING_TO_LEARN:
            text += "; only older images that are replayed would teach anything"
        findings.append(CaseFinding(None, Finding(one.kind, text, blocking=False)))
    return findings


def _check_unseen(correction: Correction) -> list[Finding]:
    if not correction.model or correction.changed_voxels or correction.seconds >= UNSEEN_S:
        return []
    text = f"accepted unchanged after {correction.seconds:.1f} s: was it looked at?"
    return [Finding("unseen", text, blocking=False)]


def _check_mixups(pieces: Sequence[CorrectionToCheck], sketches: Sequence[EdgeThumbnail]) -> list[CaseFinding]:
    """Find labels that fit the image of another case better."""
    findings = []
    for own, other in find_label_mixups(sketches).items():
        text = f"the labels of {pieces[other].case.name} fit this image better: mixed up?"
        findings.append(_add_case(pieces[own], Finding(LABEL_MIXUP, text, blocking=False)))
    return findings


def _check_copies(
    folder: Path, learnt: Sequence[CorrectionToCheck], held_out: Sequence[Case]
) -> Generator[list[CaseFinding]]:
    """Find hold-out images that show the same as a training image: the evaluation would use training data."""
    noun = find_group_noun(case.group for case in held_out)
    texts = {
        Likeness.IDENTICAL: "the same image as {}, which is held out: no run trains on it. Put both into one group",
        Likeness.COPY: "a copy of {}, which is held out (moved, resized or compressed): no run trains on it",
        Likeness.SAME_PLACE: f"the same place as {{}}, which is held out? Put both into one group if it is one {noun}",
    }
    for shared in iter_shared_cases(folder, [piece.case for piece in learnt], held_out):
        yield [_make_duplicate(learnt[one.one], texts[one.likeness].format(held_out[one.other].name)) for one in shared]


def _check_replayed(
    folder: Path, item: SnapshotItem, held_out: Sequence[Case], pieces: Mapping[int, CorrectionToCheck]
) -> list[CaseFinding]:
    """Find hold-out images that a version was trained on: they are not replayed, and its own score is too good."""
    name = f"{item.name} ({item.source})"
    as_copy = f"held out, but the model was trained on it as {name}: it is not replayed, and its score is too good"
    as_neighbour = f"held out, and the same place as {name}, which the model was trained on?"
    return [
        _make_duplicate(pieces[copy.case.id], as_copy if copy.is_copy else as_neighbour)
        for copy in find_replayed_copies(folder, [item], held_out)
    ]


def _make_duplicate(piece: CorrectionToCheck, text: str) -> CaseFinding:
    return _add_case(piece, Finding("duplicate", text, blocking=False))


def read_correction_check(folder: Path, kept: KeptChecks, piece: CorrectionToCheck) -> CorrectionCheck:
    """Return the kept check of a correction, or check it; only files are accessed."""
    correction = piece.correction
    names = (piece.case.content_hash, correction.sha256, correction.reviewed_sha256)
    key = "-".join([*(name[:16] for name in names if name), str(correction.review_id), CHECKS_VERSION])
    known = kept.read(key)
    if known is not None and known.certain is not None and _is_stored(folder, known.certain):
        return known
    look = _check_correction(folder, piece) if known is None else known
    look = replace(look, certain=find_certain_voxels(folder, piece.case, correction))
    kept.write(key, look)
    return look


def _is_stored(folder: Path, certain: CertainVoxels) -> bool:
    return not certain.mask_file or (folder / certain.mask_file).exists()


def _check_correction(folder: Path, piece: CorrectionToCheck) -> CorrectionCheck:
    correction = piece.correction
    image = read_image_copy(folder, piece.case)
    labels = read_case_labels(folder, piece.case, correction)
    if (seen := read_reviewed_pixels(folder, piece.case, correction)) is not None:
        labels = np.where(seen, labels, 0)  # training ignores the other pixels
    content = summarise_labels(labels, piece.task, image, seen)
    findings = check_labels(labels, piece.task, image)
    if content.is_constant:
        findings.append(Finding(CONSTANT, "all pixels of the image have the same value", blocking=False))
    return CorrectionCheck(findings, make_edge_thumbnail(image, labels), content)
