"""Make a project of a data set that this program wrote: its task, groups, hold-out and corrections."""

import hashlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.containers.inner_files import name_inner_paths
from napari_medseg.core.containers.zip_archive import UnpackedArchive
from napari_medseg.core.errors import MedSegError, translate_errors
from napari_medseg.core.grouping.keyed_groups import choose_group_noun, get_group_label
from napari_medseg.core.image import Image
from napari_medseg.core.project.review_region import RegionOutline, ReviewRegion
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.tasks.custom_task import extends
from napari_medseg.workflow.accepted_files import write_accepted_files
from napari_medseg.workflow.data_set.card import CardCase, DataCard
from napari_medseg.workflow.hold_out.groups import choose_groups
from napari_medseg.workflow.masks.import_masks import (
    ImportOutcome,
    ImportStart,
    begin_import,
    end_import,
    withdraw_import,
    write_import,
)
from napari_medseg.workflow.masks.read_pair import ReadMask
from napari_medseg.workflow.sharing.checksums import check_file, read_checksums
from napari_medseg.workflow.tasks.custom_tasks import add_task
from napari_medseg.workflow.workspace import Workspace


def adopt_task(ws: Workspace, wanted: Task) -> Task:
    """Return the task of a data set as it is known here; a custom one that is not known is added.

    Raises
    ------
    MedSegError
        If a task of this name has other labels here.
    """
    if wanted.name not in ws.tasks:
        return add_task(ws, wanted)
    known = ws.tasks.get_task(wanted.name)
    if not extends(known, wanted):
        raise MedSegError(
            f"the task {wanted.name!r} has other labels here than in the data set. Use another registry (--registry)."
        )
    return known


@dataclass(frozen=True)
class DatabaseStep:
    """A part of an import that uses the database: call `run` in the main thread, and hand back what it returns.

    `begins_with` is the image whose review it opens, so that a window can close the case of it before; else `None`.
    """

    run: Callable[[], Any]
    begins_with: Image | None = None


def import_data_set(
    ws: Workspace, folder: Path, card: DataCard, *, force: bool = False, archive: UnpackedArchive | None = None
) -> Iterator[ImportOutcome]:
    """Import the cases of a data set as accepted corrections; one that cannot be imported is refused, others go on.

    Cases keep their group and their side: what the data set holds out is held out. It can be repeated.

    Parameters
    ----------
    ws, folder, card
        Open project, the data set, and its card.
    force
        Whether to add images that modality, body part or view rule out for the task.
    archive
        The archive in which the folder was; the cases find their images there again.
    """
    steps = import_in_steps(ws, folder, card, force=force, archive=archive)
    answer: Any = None
    problem: BaseException | None = None
    while True:
        try:
            item = steps.send(answer) if problem is None else steps.throw(problem)
        except StopIteration:
            return
        answer = problem = None
        if isinstance(item, ImportOutcome):
            yield item
            continue
        try:
            answer = item.run()
        except BaseException as error:  # noqa: BLE001 - the import takes back what it began, and raises it again
            problem = error


def import_in_steps(
    ws: Workspace, folder: Path, card: DataCard, *, force: bool = False, archive: UnpackedArchive | None = None
) -> Generator[DatabaseStep | ImportOutcome, Any, None]:
    """Import as `import_data_set`, in any thread: a `DatabaseStep` wants its result sent, or its error thrown.

    If it is closed before its end, whoever closes it withdraws the import that was begun last.
    """
    task = card.task_definition
    checksums = read_checksums(folder)
    for case in card.cases:
        try:
            with translate_errors():
                read = _read_case(folder, case, _check_files(folder, case, checksums), archive)
                outcome = yield from _import_case(ws, read, task, force=force)
        except MedSegError as error:
            outcome = ImportOutcome(case.name, "refused", str(error))
        yield outcome


def _check_files(folder: Path, case: CardCase, checksums: Mapping[str, str]) -> str:
    """Return one hash for image and labels; refuse files that are not those of the data set."""
    digest = hashlib.sha256()
    for name in (case.image, case.labels):
        digest.update(check_file(folder, name, checksums).encode())
    if case.reviewed is not None:
        check_file(folder, case.reviewed, checksums)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class _ReadCase:
    """The files of a case, and one hash for all of them."""

    card: CardCase
    image: Image
    labels: NDArray[Any]
    region: ReviewRegion
    digest: str


def _read_case(folder: Path, case: CardCase, digest: str, archive: UnpackedArchive | None) -> _ReadCase:
    image = formats.read(folder / case.image)
    image = image if archive is None else name_inner_paths(image, archive)
    image = replace(image, name=case.name, group=case.group, modality=image.modality or case.modality)
    _ = image.content_hash  # computed here, so that the window does not block
    labels = formats.read_labels(folder / case.labels, image, expected_shape=image.spatial_shape)
    return _ReadCase(case, image, labels, _read_region(folder, case, image), digest)


def _import_case(
    ws: Workspace, read: _ReadCase, task: Task, *, force: bool
) -> Generator[DatabaseStep, Any, ImportOutcome]:
    begun: ImportStart = yield DatabaseStep(lambda: _begin(ws, read, task, force=force), read.image)
    if begun.start is None:
        return ImportOutcome(read.card.name, "already there", case=begun.case)
    try:
        yield from _write_correction(ws, read, task, begun)
    except GeneratorExit:
        raise  # nothing can be asked any more
    except BaseException:
        yield DatabaseStep(lambda: withdraw_import(ws, begun))
        raise
    return ImportOutcome(read.card.name, "accepted", "", read.image.notes, begun.case)


def _begin(ws: Workspace, read: _ReadCase, task: Task, *, force: bool) -> ImportStart:
    adopt_task(ws, task)
    _keep_side(ws, read.image, read.card, task)
    begun = begin_import(ws, read.image, task, read.labels, accepts=True, force=force)
    if begun.case.held_out != read.card.held_out:  # the image was here before, in another group
        withdraw_import(ws, begun)
        _refuse_other_side(begun.case.name, is_held_out=begun.case.held_out)
    return begun


def _write_correction(
    ws: Workspace, read: _ReadCase, task: Task, begun: ImportStart
) -> Generator[DatabaseStep, Any, None]:
    imported = write_import(begun, read.labels)
    draft = imported.draft
    try:
        draft.save_review_region(read.region)
        written = write_accepted_files(ws.project.folder, task, begun.case, read.labels, read.image, read.region)
        how = f"labels of a data set; model {read.card.model or 'none'}, accepted {read.card.accepted}".strip()
        made = ReadMask(read.labels, how)
        yield DatabaseStep(lambda: end_import(ws, draft, read.labels, made, read.digest, written))
    except BaseException:
        imported.take_back()
        raise
    finally:
        draft.close()


def _keep_side(ws: Workspace, image: Image, case: CardCase, task: Task) -> None:
    """Give the group that a case gets here its side; refuse if it has the other one."""
    (chosen,) = choose_groups(ws, [image])  # a pattern of this project may group by the name of the file
    group = ws.project.identities.key_group(chosen, choose_group_noun(task))
    present = ws.project.read_hold_out_groups().get(group)
    if present is None:
        ws.project.set_hold_out(group, case.held_out)
    elif present != case.held_out:
        _refuse_other_side(get_group_label(group), is_held_out=present)


def _refuse_other_side(name: str, *, is_held_out: bool) -> NoReturn:
    here, there = ("held out", "trained on") if is_held_out else ("trained on", "held out")
    raise MedSegError(
        f"{name} is {there} in the data set, but {here} in this project. Import it into a new project, so that no "
        "model is compared on images that it was trained on."
    )


def _read_region(folder: Path, case: CardCase, image: Image) -> ReviewRegion:
    """Return the reviewed pixels as rectangles; the whole image if the data set has no mask of them."""
    if case.reviewed is None:
        return ReviewRegion()
    reviewed = formats.read_labels(folder / case.reviewed, image, expected_shape=image.spatial_shape) > 0
    planes = reviewed.reshape(-1, *reviewed.shape[-2:])
    return ReviewRegion(outlines=tuple(one for z, plane in enumerate(planes) for one in _list_rectangles(plane, z)))


def _list_rectangles(plane: NDArray[np.bool_], z: int) -> Iterator[RegionOutline]:
    """Yield rectangles that cover a mask (y, x) exactly: rows that are alike are one."""
    changes = np.flatnonzero((plane[1:] != plane[:-1]).any(axis=1)) + 1
    tops = [0, *changes.tolist()]
    for top, bottom in zip(tops, [*tops[1:], len(plane)], strict=True):
        edges = np.flatnonzero(np.diff(np.pad(plane[top].astype(np.int8), 1)))
        for left, right in edges.reshape(-1, 2).tolist():
            corners = ((top, left), (top, right), (bottom, right), (bottom, left))
            yield RegionOutline(corners=tuple((y - 0.5, x - 0.5) for y, x in corners), plane=z)
