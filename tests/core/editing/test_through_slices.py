"""Proposals on neighbouring slices, and interpolation of one slice."""

import numpy as np
import pytest
from editing_phantoms import LUNGS, NUCLEI, apply, freeze, make_block
from numpy.typing import NDArray

from napari_medseg.core.editing.canvas import Canvas, Change
from napari_medseg.core.editing.edit import Edit
from napari_medseg.core.editing.through_slices import interpolate_slice, propose_on_neighbours
from napari_medseg.core.errors import MedSegError

SHAPE = (7, 60, 60)
ADDED = (slice(20, 32), slice(20, 32))


def make_canvas(protected: NDArray[np.bool_] | None = None, unlike: int | None = None) -> Canvas:
    """A structure through all slices, which the model saw on slice 0 only, and was unsure of on slices 1 to 5."""
    image = np.random.default_rng(0).normal(0, 3, SHAPE)
    image[:, 20:32, 20:32] += 100
    if unlike is not None:
        image[unlike, 20:32, 20:32] -= 60
    uncertainty = np.zeros(SHAPE, np.uint8)
    uncertainty[1:6, 18:34, 18:34] = 45
    return Canvas(freeze(np.zeros(SHAPE, np.uint8)), LUNGS, (2.0, 1.0, 1.0), protected, image, "HU", None, uncertainty)


def make_change(canvas: Canvas, plane: int = 3, value: int = 1) -> Edit:
    return canvas.make_edit(
        "painted", [Change((slice(plane, plane + 1), *ADDED), np.ones((1, 12, 12), np.bool_), value)]
    )


def test_change_is_proposed_where_the_model_was_unsure_and_the_image_is_alike() -> None:
    canvas = make_canvas()
    proposals = propose_on_neighbours(canvas, make_change(canvas), 3)
    assert [list(proposal.planes) for proposal in proposals[:2]] in ([[2], [4]], [[4], [2]])
    assert sorted(proposal.planes[0] for proposal in proposals) == [1, 2, 4, 5]
    for proposal in proposals:
        assert 0.85 * 144 < proposal.n_voxels <= 144
        assert "as proposed" in proposal.message
        apply(canvas, proposal)


def test_proposals_can_be_made_after_the_change_was_applied() -> None:
    canvas = make_canvas()
    edit = make_change(canvas)
    labels = canvas.labels.copy()
    edit.apply(labels)
    after = Canvas(labels, LUNGS, canvas.spacing_mm, None, canvas.image, "HU", None, canvas.uncertainty)
    assert len(propose_on_neighbours(after, edit, 3)) == 4


def test_chain_ends_at_a_slice_that_looks_different() -> None:
    canvas = make_canvas(unlike=2)
    assert sorted(p.planes[0] for p in propose_on_neighbours(canvas, make_change(canvas), 3)) == [4, 5]


def test_chain_ends_where_the_model_was_sure_and_at_the_end_of_the_volume() -> None:
    canvas = make_canvas()
    proposals = propose_on_neighbours(canvas, make_change(canvas), 3, reach=6)
    assert sorted(p.planes[0] for p in proposals) == [1, 2, 4, 5]
    assert [p.planes[0] for p in propose_on_neighbours(canvas, make_change(canvas, plane=6), 6)] == [5, 4]


def test_voxels_of_a_person_are_not_proposed() -> None:
    protected = np.zeros(SHAPE, np.bool_)
    protected[4] = True
    protected[2, 20:32, 20:24] = True
    canvas = make_canvas(protected)
    proposals = propose_on_neighbours(canvas, make_change(canvas), 3)
    assert {p.planes[0] for p in proposals} == {1, 2}
    assert not any(protected.reshape(-1)[p.stroke.indices].any() for p in proposals)


def test_pieces_are_proposed_one_by_one_and_deletions_too() -> None:
    labels = make_block(SHAPE, ((slice(0, 7), *ADDED), 1))
    canvas = make_canvas()
    canvas = Canvas(labels, LUNGS, None, None, canvas.image, "", None, canvas.uncertainty)
    mask = np.zeros((1, 12, 12), np.bool_)
    mask[0, :4], mask[0, 8:] = True, True
    proposals = propose_on_neighbours(
        canvas, canvas.make_edit("x", [Change((slice(3, 4), *ADDED), mask, 0)]), 3, reach=1
    )
    assert len(proposals) == 4
    assert all((p.voxel_runs["new"] == 0).all() for p in proposals)


def test_probability_tells_where_the_model_was_unsure() -> None:
    canvas = make_canvas()
    assert canvas.uncertainty is not None
    sure = (100 - canvas.uncertainty) / 100
    for probability in (
        np.stack([sure, 1 - sure]),
        (np.stack([sure, 1 - sure]) * 255).astype(np.uint8),
        sure[np.newaxis],
    ):
        other = Canvas(canvas.labels, LUNGS, None, None, canvas.image, "", probability)
        assert len(propose_on_neighbours(other, make_change(other), 3)) == 4


def test_proposals_need_image_and_uncertainty() -> None:
    canvas = make_canvas()
    edit = make_change(canvas)
    with pytest.raises(MedSegError, match="need the image"):
        propose_on_neighbours(Canvas(canvas.labels, LUNGS, image=canvas.image), edit, 3)
    with pytest.raises(MedSegError, match="no neighbouring slices"):
        propose_on_neighbours(Canvas(canvas.labels[0], LUNGS), edit, 0)


def test_interpolated_disk_has_the_mean_radius() -> None:
    y, x = np.mgrid[:60, :60]
    distance = np.hypot(y - 30, x - 30)
    labels = np.zeros((5, 60, 60), np.uint16)
    labels[1][distance <= 10] = 40_000
    labels[3][distance <= 16] = 40_000
    canvas = Canvas(freeze(labels), NUCLEI, (5.0, 1.0, 1.0))
    filled = apply(canvas, edit := interpolate_slice(canvas, 40_000, 3, 1))
    assert edit.n_voxels == pytest.approx(np.pi * 13**2, rel=0.03)
    assert (filled[2][distance <= 12] == 40_000).all()
    assert edit.message == f"interpolated nucleus 40000 on slice 2: {edit.n_voxels} px"
    assert not np.count_nonzero((filled[2] == 40_000) & (distance > 14.5))


def test_equal_slices_give_the_same_slice_and_other_labels_stay() -> None:
    labels = make_block(
        (3, 20, 20), ((slice(0, 3, 2), slice(5, 15), slice(0, 10)), 1), ((slice(1, 2), slice(0, 20), slice(8, 12)), 2)
    )
    canvas = Canvas(labels, LUNGS)
    filled = apply(canvas, interpolate_slice(canvas, 1, 0, 2))
    assert (filled[1, 5:15, :8] == 1).all()
    assert np.count_nonzero(filled[1] == 1) == 80
    assert (filled[1, :, 8:12] == 2).all()


def test_pieces_that_do_not_overlap_are_left_out_or_refused() -> None:
    labels = make_block(
        (3, 40, 40), ((slice(0, 1), slice(2, 12), slice(2, 12)), 1), ((slice(2, 3), slice(20, 30), slice(20, 30)), 1)
    )
    with pytest.raises(MedSegError, match="slices 0 and 2 do not overlap"):
        interpolate_slice(Canvas(labels, LUNGS), 1, 0, 2)
    labels[2, 4:10, 4:10] = 1
    canvas = Canvas(labels, LUNGS)
    edit = interpolate_slice(canvas, 1, 0, 2)
    assert edit.message.endswith("left out because they overlap nothing: 1 piece")
    assert apply(canvas, edit)[1, 20:30, 20:30].sum() == 0
    assert 36 < edit.n_voxels < 100


@pytest.mark.parametrize(
    ("planes", "reason"),
    [
        ((0, 1), "no slice between"),
        ((2, 2), "no slice between"),
        ((0, 3), "3 apart"),
        ((0, 9), "not in this image"),
        ((1, 3), "slice 3 has no right lung"),
    ],
)
def test_slices_that_cannot_be_interpolated_are_refused(planes: tuple[int, int], reason: str) -> None:
    labels = make_block((5, 8, 8), ((slice(0, 3), slice(2, 6), slice(2, 6)), 1))
    with pytest.raises(MedSegError, match=reason):
        interpolate_slice(Canvas(labels, LUNGS), 1, *planes)
