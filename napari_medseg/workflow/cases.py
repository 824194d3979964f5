"""Cases: imported images, each stored once, and the list of them with their state."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from napari_medseg.core import formats
from napari_medseg.core.containers.addresses import format_source
from napari_medseg.core.containers.part_paths import exists
from napari_medseg.core.errors import MedSegError, explain
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.grouping.keyed_groups import choose_group_noun
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import get_image_copy_path, read_image_copy
from napari_medseg.core.project.case_history import CaseHistory
from napari_medseg.core.project.journal_records import has_manual_strokes
from napari_medseg.core.project.undo_journal import get_journal_path
from napari_medseg.core.readings.records import FIRST
from napari_medseg.core.records import NO_NOTE, Case, CaseNote, Correction, Prediction, Review, ReviewState, now
from napari_medseg.core.tasks.bundled_tasks import TASKS, Task
from napari_medseg.core.tasks.detection import check_axes_fit_task, check_image_fits_task
from napari_medseg.core.video.frame_paths import parse_frame_path
from napari_medseg.workflow.case_images.problems import ImageFault, ImageProblem
from napari_medseg.workflow.case_notes.notes import CaseNotes, list_other_notes, select_note
from napari_medseg.workflow.hold_out.groups import choose_groups
from napari_medseg.workflow.hold_out.held_out_groups import assign_sides
from napari_medseg.workflow.tasks.custom_tasks import save_task_to_project
from napari_medseg.workflow.workspace import Workspace

logger = logging.getLogger(__name__)

CaseState = Literal["new", "predicted", "draft", "accepted", "rejected"]


@dataclass(frozen=True)
class CaseRow:
    """A row of the case list: case, state, newest prediction and correction, and open review.

    Of a second reading (`reading` 2), correction, reviews and note are those of the person who works now: it is blind.
    `is_read_twice` tells that a second person reads the case, or has read it. `other_notes` are of second readers.
    `image_problem` is what is known in this session of an image that cannot be shown.
    """

    case: Case
    state: CaseState
    prediction: Prediction | None
    correction: Correction | None
    review: Review | None
    reading: int = FIRST
    note: CaseNote = NO_NOTE
    is_read_twice: bool = False
    other_notes: CaseNotes = ()
    image_problem: ImageProblem | None = None

    @property
    def is_flagged(self) -> bool:
        """Whether a person who read the case wants a colleague to look at it."""
        return self.note.is_flagged or any(one.is_flagged for one in self.other_notes)

    @property
    def reason(self) -> str:
        """Why the case is rejected; empty if it is not, or if no one said it."""
        return self.note.reason if self.state == "rejected" else ""

    @property
    def uncertainty(self) -> float | None:
        """Uncertainty of the newest prediction; `None` without one."""
        return None if self.prediction is None else self.prediction.uncertainty

    @property
    def is_unlike(self) -> bool:
        """Whether the image is unlike the images that the model of the newest prediction learnt from."""
        return self.prediction is not None and self.prediction.is_unlike

    @property
    def is_decided(self) -> bool:
        """Whether the case was accepted or rejected."""
        return self.state in ("accepted", "rejected")


def add_cases(ws: Workspace, images: Sequence[Image], task: str, *, force: bool = False) -> list[Case]:
    """Add images to the project in order. If an image exists already (same content and task), its case is returned.

    A case that was removed from the list is on it again.

    The groups are chosen by `workflow.hold_out.groups` and keyed; names stay in the table `identities`. Each new group
    is assigned to training or hold-out by `core.grouping.split` and keeps this assignment. Groups of the training
    samples of a live bundled model are never held out. `force` adds images that modality, body part or view rule out.

    Raises
    ------
    MedSegError
        If the task does not accept one of the images. Then nothing is added.
    """
    wanted = ws.tasks.get_task(task)
    for image in images:
        check_axes_fit_task(image, wanted) if force else check_image_fits_task(image, wanted)
    save_task_to_project(ws, wanted)
    with ws.project.transaction():
        noun = choose_group_noun(wanted)
        groups = [ws.project.identities.key_group(group, noun) for group in choose_groups(ws, images)]
        pairs = list(zip(images, groups, strict=True))
        assign_sides(ws, [group for image, group in pairs if find_image_case(ws, image, task) is None])
        added = [find_image_case(ws, image, task) or _add_case(ws, image, task, group) for image, group in pairs]
        removed = ws.project.read_removed_case_ids()
        ws.project.set_removed([case for case in added if case.id in removed], removed=False)
        return added


def load_image(ws: Workspace, case: Case) -> Image:
    """Read the image of a case from its files, or from the copy in the project if they are missing or changed.

    A frame of a video is read from the copy if there is one: for one frame, a video of hours is read to its end.
    It only reads files, so it may run in a worker thread. Whether it can be read is remembered in `ws.image_problems`.

    Raises
    ------
    MedSegError
        If neither is available.
    """
    try:
        image = _load_image(ws, case)
    except (MedSegError, OSError) as error:
        if case.sources:  # without any, the window may have the image in memory
            is_there = all(exists(Path(use_slashes(source))) for source in case.sources)
            fault = ImageFault.UNREADABLE if is_there else ImageFault.MISSING
            ws.image_problems.put(case, ImageProblem(fault, str(explain(error) or error)))
        raise
    ws.image_problems.put(case, None)
    return image


def _load_image(ws: Workspace, case: Case) -> Image:
    reason, problem = "its files are missing", ""
    sources = [Path(use_slashes(source)) for source in case.sources]
    has_copy = get_image_copy_path(ws.project.folder, case.content_hash).exists()
    if has_copy and len(sources) == 1 and parse_frame_path(sources[0]) is not None:
        with suppress(MedSegError):  # a damaged copy; the video may be there
            return read_image_copy(ws.project.folder, case)
    if sources and all(exists(source) for source in sources):
        try:
            image = formats.read(sources[0]) if len(sources) == 1 else formats.read_series(sources)
        except MedSegError as error:
            reason, problem = "its files cannot be read", f": {error}"
        else:
            image = image.give_name(case.name, case.group).adopt_content_hash(case.content_hash)
            if image.content_hash == case.content_hash:
                return image
            reason = "its files have changed since"
    if has_copy:
        logger.info("%s: %s; the project's copy is used", case.name, reason)  # not the error, which names the file
        return read_image_copy(ws.project.folder, case)
    places = ", ".join(sorted({str(source.parent) for source in sources})) or "no file"
    raise MedSegError(
        f"{case.name} cannot be shown: {reason} ({places}){problem}. Put the files back, or drop them again from "
        "their folder; strokes and decisions are kept."
    )


def list_cases(ws: Workspace, task: str | None = None, *, with_open_review: bool = False) -> list[CaseRow]:
    """Return the listed cases (of one task or of all, or only those under review), in the order of import."""
    return _make_case_rows(ws, ws.project.read_case_histories(task, with_open_review=with_open_review))


def read_case_rows(ws: Workspace, task: str, after_id: int, n_rows: int) -> tuple[list[CaseRow], int | None]:
    """Return the next `n_rows` listed cases of a task, as reading all of a large list would hold up the window.

    The second value is the `after_id` of the next call; `None` if there are no more.
    """
    if not (ids := ws.project.listed.find_ids(task, after_id, n_rows)):
        return [], None
    histories = ws.project.read_case_histories(task, (ids[0], ids[-1]))  # without damaged ones
    return _make_case_rows(ws, histories), ids[-1] if len(ids) == n_rows else None


def get_case_row(ws: Workspace, case: Case) -> CaseRow:
    """Return the current row of one case; much faster than `list_cases`."""
    return read_case_row(ws, case.id)


def read_case_row(ws: Workspace, case_id: int) -> CaseRow:
    """Return the current row of the case with a number."""
    return _make_case_rows(ws, [ws.project.read_case_history(case_id)])[0]


def find_last_task(ws: Workspace) -> Task:
    """Return the task of the newest listed case, or the first built-in task in a new project."""
    known = [task for task in ws.project.listed.read_tasks() if task in ws.tasks]
    return ws.tasks.get_task(known[0]) if known else next(iter(TASKS.values()))


def list_current_corrections(ws: Workspace, task: str | None = None) -> list[tuple[Case, Correction]]:
    """Return the newest correction of each case, in the order of the cases, without cases rejected afterwards."""
    return list(ws.project.read_accepted_cases(task))


def find_case(ws: Workspace, content_hash: str, task: str) -> Case | None:
    """Return the case of an image in a task, also if it was removed from the list; `None` if there is none."""
    found = ws.project.read_records(Case, "content_hash", content_hash)
    return next((case for case in found if case.task == task), None)


def find_image_case(ws: Workspace, image: Image, task: str) -> Case | None:
    """Return the case of an image, also of one that an older version of the program read with other values."""
    known = find_case(ws, image.content_hash, task)
    if known is not None or not image.may_have_earlier_hash:
        return known
    alike = [case for case in ws.project.read_records(Case, "task", task) if case.shape == image.pixels.shape]
    return next((case for case in alike if image.adopt_content_hash(case.content_hash) is not image), None)


def _add_case(ws: Workspace, image: Image, task: str, group: str) -> Case:
    case = Case(
        id=0,
        task=task,
        name=image.name or image.content_hash[:12],
        group=group,
        content_hash=image.content_hash,
        axes=image.axes,
        shape=tuple(int(size) for size in image.pixels.shape),
        spacing_mm=image.spacing_mm,
        sources=tuple(format_source(source) for source in image.sources),
        held_out=False,
        created=now(),
        series=image.series,
    )
    return ws.project.insert(case)


def _make_case_rows(ws: Workspace, histories: Sequence[CaseHistory]) -> list[CaseRow]:
    """Return the rows of cases in insertion order."""
    notes: dict[int, list[CaseNote]] = {}
    if histories:
        for note in ws.project.listed.read_notes(histories[0].case.id, histories[-1].case.id):
            notes.setdefault(note.case_id, []).append(note)
    return [_make_case_row(ws, history, notes.get(history.case.id, ())) for history in histories]


def _make_case_row(ws: Workspace, history: CaseHistory, notes: Sequence[CaseNote]) -> CaseRow:
    history = ws.second_readings.show_to_reader(history)
    return CaseRow(
        history.case,
        _detect_state(ws, history),
        history.prediction,
        history.correction,
        history.open_review,
        history.reading,
        select_note(notes, ws.reader.label, history.reading) if notes else NO_NOTE,
        ws.second_readings.is_selected(history.case),
        list_other_notes(notes, history.reading) if notes else (),
        ws.image_problems.get(history.case),
    )


def _detect_state(ws: Workspace, history: CaseHistory) -> CaseState:
    prediction, opened, closed = history.prediction, history.open_review, history.closed_review
    if opened is not None and has_manual_strokes(get_journal_path(ws.project.folder, opened.id)):
        return "draft"
    if closed is not None and closed.state is ReviewState.ACCEPTED:
        return "accepted"
    if closed is not None and not _is_predicted_after(prediction, closed):
        return "rejected"
    return "new" if prediction is None else "predicted"


def _is_predicted_after(prediction: Prediction | None, review: Review) -> bool:
    return prediction is not None and prediction.created > (review.closed or "")
