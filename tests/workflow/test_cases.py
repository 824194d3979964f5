"""Cases: each image once, its group on one side, and its pixels found again."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, phantom_labels, predicted

from napari_medseg.core import formats
from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.project.case_files import read_image_copy, write_image_copy
from napari_medseg.core.project.database import Project
from napari_medseg.core.project.rows import RunItem
from napari_medseg.core.records import Case, Run, RunState
from napari_medseg.core.snapshot import Role
from napari_medseg.workflow.cases import add_cases, list_cases, load_image
from napari_medseg.workflow.hold_out.held_out_groups import set_held_out
from napari_medseg.workflow.output.image_names import ImageNamer
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.workspace import PACKAGE_DIR, Workspace

CT = PACKAGE_DIR / "samples" / "ct_a0001" / "dicom"


def test_equal_content_is_one_case_wherever_its_file_lies(ws: Workspace) -> None:
    first, second, again = add_cases(ws, [phantom(1), phantom(2), phantom(1)], "lungs")
    assert first == again
    assert second.id != first.id
    assert add_cases(ws, [phantom(2)], "lungs") == [second]
    assert [row.state for row in list_cases(ws)] == ["new", "new"]


def test_one_after_the_other_enough_groups_to_judge_by_come_first_then_one_in_five(ws: Workspace) -> None:
    cases = [add_cases(ws, [phantom(number)], "lungs")[0] for number in range(35)]
    assert [number for number, case in enumerate(cases) if case.held_out] == [1, 5, 8, 11, 14, 29, 34]


def test_sides_of_groups_that_come_together_do_not_depend_on_their_order(ws: Workspace, tmp_path: Path) -> None:
    images = [phantom(number, f"patient {number}") for number in range(6)]
    held = {case.file_name for case in add_cases(ws, images, "lungs") if case.held_out}
    assert len(held) == 2
    with contextlib.closing(Project.create(tmp_path / "other")) as project:
        other = Workspace(project, ws.registry, ws.engine)
        assert held == {case.file_name for case in add_cases(other, images[::-1], "lungs") if case.held_out}


def test_a_group_with_a_side_keeps_it_whatever_else_comes(ws: Workspace) -> None:
    """As in a project made by an earlier version: the sides in its database are neither few nor many by this rule."""
    for number in range(6):
        ws.project.set_hold_out(f"patient {number}", number < 5)
    cases = add_cases(ws, [phantom(number, f"patient {number}") for number in range(12)], "lungs")
    assert [case.held_out for case in cases] == [True] * 5 + [False] * 7
    assert len(ws.project.read_hold_out_groups()) == 12


def test_a_group_stands_on_one_side_with_all_its_cases(ws: Workspace) -> None:
    add_cases(ws, [phantom(0, "a"), phantom(1, "b")], "lungs")
    later = add_cases(ws, [phantom(2, "b"), phantom(3, "a")], "lungs")
    assert [case.held_out for case in later] == [True, False]


def test_what_the_base_model_learnt_from_is_never_held_out(ws: Workspace) -> None:
    add_cases(ws, [phantom(0)], "lungs")
    sample = formats.read(sorted(CT.iterdir())[0])
    assert not add_cases(ws, [sample], "lungs")[0].held_out
    with pytest.raises(MedSegError, match="was trained on"):
        set_held_out(ws, sample.group, True)


def test_side_is_frozen_once_a_run_has_used_it(ws: Workspace) -> None:
    (case, prediction), (held, held_prediction) = predicted(ws, phantom(0)), predicted(ws, phantom(1))
    set_held_out(ws, case.group, True)
    set_held_out(ws, case.group, False)
    corrections = [
        accept(ws, open_review(ws, of, by), phantom_labels(), phantom(n))
        for n, (of, by) in enumerate([(case, prediction), (held, held_prediction)])
    ]
    run = ws.project.insert(Run("r1", "lungs", "lungs-unet@1", "runs/r1", RunState.FAILED, 2, None, "2025"))
    ws.project.add_run_items(
        [
            RunItem("r1", corrections[0].id, case.group, Role.TRAIN),
            RunItem("r1", corrections[1].id, held.group, Role.HOLD_OUT),
        ]
    )
    set_held_out(ws, held.group, False)
    set_held_out(ws, held.group, True)
    ws.project.set_run_state(run, RunState.FINISHED)
    with pytest.raises(MedSegError, match="trained on"):
        set_held_out(ws, case.group, True)
    with pytest.raises(MedSegError, match="was used to evaluate models"):
        set_held_out(ws, held.group, False)
    assert [row.case.held_out for row in list_cases(ws)] == [False, True]


def test_axes_that_the_task_does_not_take_add_nothing(ws: Workspace) -> None:
    wrong = Image(pixels=np.zeros((2, 3, 4, 5), np.uint8), axes="TZYX", name="film")
    with pytest.raises(MedSegError, match=r"film has axes 'TZYX'.*Choose another task"):
        add_cases(ws, [phantom(0), wrong], "lungs")
    assert list_cases(ws) == []
    with pytest.raises(MedSegError, match="unknown task"):
        add_cases(ws, [phantom(0)], "teeth")


def test_a_case_of_an_old_project_with_a_big_endian_hash_is_found_again(ws: Workspace, tmp_path: Path) -> None:
    image = replace(phantom(0), pixels=phantom(0).pixels.astype(np.uint16), sources=())
    spacing = list(image.spacing_mm or ())
    old = hashlib.sha256(f"YX|{image.pixels.shape}|>u2|{spacing}".encode() + image.pixels.astype(">u2").tobytes())
    case = add_cases(ws, [image], "lungs")[0]
    add_cases(ws, [replace(image, pixels=image.pixels + 1)], "lungs")
    database = sqlite3.connect(ws.project.folder / "project.sqlite")
    database.execute("UPDATE cases SET content_hash = ? WHERE id = ?", (old.hexdigest(), case.id))
    database.commit()
    database.close()
    (found,) = add_cases(ws, [image], "lungs")
    assert (found.id, found.content_hash) == (case.id, old.hexdigest())
    write_image_copy(ws.project.folder, image.adopt_content_hash(found.content_hash))
    assert load_image(ws, found).content_hash == old.hexdigest()


def test_image_comes_from_its_files(ws: Workspace) -> None:
    series = formats.read(CT)
    case = add_cases(ws, [series], "lungs")[0]
    image = load_image(ws, case)
    assert image.content_hash == series.content_hash
    assert image.has_same_grid(series)
    assert len(case.sources) == 16


@pytest.mark.parametrize("what", ["slice", "series"])
def test_copy_reads_back_as_the_original_and_as_the_trainer_sees_it(ws: Workspace, tmp_path: Path, what: str) -> None:
    paths = sorted(CT.iterdir())[: 1 if what == "slice" else 4]
    moved = [tmp_path / path.name for path in paths]
    for path, target in zip(paths, moved, strict=True):
        target.write_bytes(path.read_bytes())
    original = formats.read(moved[0]) if what == "slice" else formats.read_series(moved)
    case = add_cases(ws, [original], "lungs")[0]
    copy = ws.project.folder / write_image_copy(ws.project.folder, original)
    for path in moved:
        path.unlink()
    image = load_image(ws, case)
    assert image.content_hash == original.content_hash
    assert (image.units, image.modality, image.axes, image.group) == ("HU", "CT", original.axes, case.group)
    assert image.spacing_mm == original.spacing_mm
    assert (image.name, image.series, image.notes) == (case.name, original.series, original.notes)
    assert image.storage is not None
    assert original.storage is not None
    assert image.storage.affine is not None
    np.testing.assert_array_equal(image.storage.affine, original.storage.affine)
    np.testing.assert_array_equal(image.affine, original.affine)
    trained_on = formats.read(copy)
    assert trained_on.content_hash == original.content_hash
    assert (trained_on.units, trained_on.modality) == ("HU", "CT")


def test_copy_keeps_what_the_header_said_of_the_acquisition(ws: Workspace) -> None:
    made = Acquisition("Digital X-Ray Image Storage - For Presentation", "CHEST", "frontal")
    film = Image(np.arange(64, dtype=np.uint16).reshape(8, 8), "YX", modality="DX", acquisition=made, padding_value=0.0)
    (case,) = add_cases(ws, [film], "lungs")
    copy = ws.project.folder / write_image_copy(ws.project.folder, film)
    image = load_image(ws, case)
    assert (image.acquisition, image.padding_value) == (made, 0.0)
    assert formats.read(copy).padding_value == 0.0, "the trainer reads the copy alone"


def test_image_that_a_task_is_not_for_becomes_a_case_only_if_forced(ws: Workspace) -> None:
    side = Image(np.ones((8, 8), np.uint16), "YX", modality="DX", name="a", acquisition=Acquisition(view="lateral"))
    with pytest.raises(MedSegError, match="a is a lateral view"):
        add_cases(ws, [side], "lungs")
    assert not ws.project.read_records(Case)
    (case,) = add_cases(ws, [side], "lungs", force=True)
    assert (case.name, case.file_name) == ("patient 1 case 1", "a")


def test_changed_or_missing_files_are_named(ws: Workspace, dropped: Callable[[int], Image]) -> None:
    image = dropped(1)
    case = add_cases(ws, [image], "lungs")[0]
    formats.write_image(image.sources[0], phantom(2))
    with pytest.raises(MedSegError, match=r"changed since.*drop them again"):
        load_image(ws, case)
    image.sources[0].unlink()
    with pytest.raises(MedSegError, match="its files are missing"):
        load_image(ws, case)


def test_stack_of_one_slice_survives_its_copy(ws: Workspace) -> None:
    flat = phantom(3)
    stack = Image(pixels=flat.pixels[None], axes="ZYX", spacing_mm=(5.0, 0.7, 0.7), name="one", group="p")
    case = add_cases(ws, [stack], "lungs")[0]
    draft = open_review(ws, case, None)
    assert draft.labels.shape == (1, *flat.pixels.shape)
    correction = accept(ws, draft, phantom_labels()[None], stack)
    assert load_image(ws, case).content_hash == stack.content_hash
    assert correction.changed_voxels == np.count_nonzero(phantom_labels())


def test_a_case_from_windows_is_named_after_its_file_elsewhere(ws: Workspace) -> None:
    (case,) = add_cases(ws, [phantom(1)], "lungs")
    write_image_copy(ws.project.folder, phantom(1))
    moved = replace(case, sources=("C:\\scans\\p7\\Mu\u0308ller.tif",))
    assert ImageNamer().make_name(read_image_copy(ws.project.folder, moved)).stem == "M\u00fcller"
