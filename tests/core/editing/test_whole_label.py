"""Specks and swapped labels."""

from dataclasses import replace

import numpy as np
import pytest
from editing_phantoms import LUNGS, NUCLEI, apply, freeze, make_block, make_nuclei

from napari_medseg.core.editing import whole_label
from napari_medseg.core.editing.canvas import Canvas
from napari_medseg.core.errors import MedSegError


def make_canvas() -> Canvas:
    labels = make_block(
        (6, 40, 40), ((slice(0, 5), slice(2, 12), slice(2, 12)), 1), ((slice(0, 5), slice(2, 12), slice(20, 30)), 2)
    )
    for n in range(20):
        labels[n % 6, 20 + n // 5 * 4, 2 + n % 5 * 4] = 1 + n % 2
    return Canvas(freeze(labels), LUNGS, (2.0, 0.5, 0.5))  # 0.5 mm3 a voxel, 0.25 mm2 a pixel


def test_twenty_specks_in_one_step() -> None:
    canvas = make_canvas()
    edit = whole_label.remove_specks(canvas, 0.6)
    assert edit.message == "removed 20 specks below 0.6 mm³"
    assert np.bincount(apply(canvas, edit).ravel()).tolist() == [9600 - 1000, 500, 500]
    assert whole_label.remove_specks(canvas, 0.6, [2]).n_voxels == 10
    with pytest.raises(MedSegError, match=r"no piece is below 0\.5 mm³"):
        whole_label.remove_specks(canvas, 0.5)
    with pytest.raises(MedSegError, match="no volumes"):
        whole_label.remove_specks(Canvas(canvas.labels[0], LUNGS), 1.0)


def test_specks_under_a_microscope_have_micrometres() -> None:
    labels = make_block((40, 40), ((slice(0, 10), slice(0, 10)), 1), ((slice(20, 26), slice(20, 26)), 2))
    canvas = Canvas(freeze(labels), LUNGS, (0.00025, 0.00025))
    edit = whole_label.remove_specks_in_plane(canvas, 3e-6)
    assert (edit.n_voxels, edit.message) == (36, "removed 1 speck below 3 µm²")
    assert whole_label.format_speck_size(3.0, "mm²") == "3 mm²"
    assert whole_label.format_speck_size(1e-7, "mm³") == "100 µm³"


def test_specks_of_a_slice() -> None:
    canvas = make_canvas()
    edit = whole_label.remove_specks_in_plane(canvas, 0.3, plane=1)
    assert (edit.n_voxels, list(edit.planes)) == (4, [1])
    assert edit.message == "removed 4 specks below 0.3 mm²"
    with pytest.raises(MedSegError, match="slice 6 is not in this volume"):
        whole_label.remove_specks_in_plane(canvas, 1.0, plane=6)


def test_specks_touching_another_label_are_found() -> None:
    labels = make_nuclei(50)
    labels[10, 19] = 2  # touches nucleus 1 and not nucleus 2
    canvas = Canvas(freeze(labels), NUCLEI)
    assert whole_label.remove_specks_in_plane(canvas, 5.0).n_voxels == 1


def test_empty_labels_have_no_specks() -> None:
    with pytest.raises(MedSegError, match="no piece"):
        whole_label.remove_specks_in_plane(Canvas(np.zeros((5, 5), np.uint8), LUNGS), 3.0)


def test_swap() -> None:
    canvas = make_canvas()
    swapped = apply(canvas, edit := whole_label.swap_labels(canvas, 1, 2))
    assert edit.message == "swapped right lung and left lung"
    assert np.array_equal(swapped, np.array([0, 2, 1])[canvas.labels])
    swapped = apply(canvas, whole_label.swap_labels_in_plane(canvas, 2, 1, plane=3))
    assert (swapped != canvas.labels).any(axis=(1, 2)).tolist() == [False, False, False, True, False, False]
    for pair in ((1, 1), (0, 1)):
        with pytest.raises(MedSegError, match="cannot be swapped"):
            whole_label.swap_labels(canvas, *pair)
    with pytest.raises(MedSegError, match="neither"):
        whole_label.swap_labels(Canvas(np.zeros((5, 5), np.uint8), LUNGS), 1, 2)


def test_swap_of_one_label_that_is_alone_renames_it() -> None:
    canvas = Canvas(make_block((5, 5), ((slice(0, 2), slice(0, 2)), 1)), LUNGS)
    assert (apply(canvas, whole_label.swap_labels(canvas, 1, 2)) == 2).sum() == 4


def test_swap_leaves_what_a_person_set() -> None:
    canvas = make_canvas()
    protected = np.zeros(canvas.shape, np.bool_)
    protected[0] = True
    swapped = apply(canvas, edit := whole_label.swap_labels(replace(canvas, protected=protected), 1, 2))
    assert np.array_equal(swapped[0], canvas.labels[0])
    assert np.array_equal(swapped[1:], np.array([0, 2, 1])[canvas.labels[1:]])
    assert edit.message.endswith(f"{np.count_nonzero(canvas.labels[0]):,} voxels that a person set stay")
