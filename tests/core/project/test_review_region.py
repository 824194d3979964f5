"""The reviewed part of an image: which pixels lie in outlines, and how it is said."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from skimage.draw import polygon

from napari_medseg.core.project.review_region import WHOLE_IMAGE, RegionOutline, ReviewRegion, format_share


def rectangle(top: float, left: float, bottom: float, right: float, plane: int = 0) -> RegionOutline:
    return RegionOutline(corners=((top, left), (top, right), (bottom, right), (bottom, left)), plane=plane)


def test_pixels_whose_centres_lie_inside_count() -> None:
    seen = ReviewRegion(outlines=(rectangle(1.5, 2.4, 4.5, 6.6),)).compute_mask((10, 12))
    wanted = np.zeros((10, 12), bool)
    wanted[2:5, 3:7] = True
    assert_array_equal(seen, wanted)


def test_any_polygon_is_filled_as_a_rectangle_is() -> None:
    upright = rectangle(1.5, 2.4, 4.5, 6.6)
    five = upright.model_copy(update={"corners": (*upright.corners, (3.0, 2.4))})
    assert_array_equal(
        ReviewRegion(outlines=(five,)).compute_mask((10, 12)), ReviewRegion(outlines=(upright,)).compute_mask((10, 12))
    )
    triangle = ReviewRegion(outlines=(RegionOutline(corners=((0, 0), (0, 8), (8, 0))),)).compute_mask((10, 12))
    assert triangle[1, 1]
    assert not triangle[7, 7]


def test_polygons_are_those_of_scikit_image_also_where_they_cross_themselves() -> None:
    rng = np.random.default_rng(0)
    for n_corners in (3, 4, 7, 40):
        corners = rng.uniform(-20, 80, (n_corners, 2))
        outline = RegionOutline(corners=tuple((float(y), float(x)) for y, x in corners))
        wanted = np.zeros((50, 60), bool)
        wanted[polygon(corners[:, 0], corners[:, 1], wanted.shape)] = True
        assert_array_equal(ReviewRegion(outlines=(outline,)).compute_mask((50, 60)), wanted)


def test_an_ellipse_leaves_the_corners_of_its_box_out() -> None:
    round_one = rectangle(10, 10, 50, 90).model_copy(update={"kind": "ellipse"})
    seen = ReviewRegion(outlines=(round_one,)).compute_mask((60, 100))
    assert seen.sum() == pytest.approx(np.pi * 20 * 40, rel=0.02)
    assert seen[30, 50]
    assert not seen[12, 12]


def test_in_a_volume_an_outline_counts_in_its_slice_only() -> None:
    seen = ReviewRegion(
        outlines=(rectangle(-0.5, -0.5, 3.5, 3.5, plane=2), rectangle(0, 0, 3, 3, plane=9))
    ).compute_mask((4, 6, 6))
    assert seen[2, :4, :4].all()
    assert seen.sum() == 16


def test_outlines_reach_no_further_than_the_image_and_none_means_everything() -> None:
    assert ReviewRegion(outlines=(rectangle(-20, -20, 200, 200),)).compute_mask((5, 6)).all()
    assert not ReviewRegion(outlines=(rectangle(20, -20, 200, -4),)).compute_mask((5, 6)).any()
    assert not ReviewRegion(outlines=(rectangle(-9, -9, -4, -4),)).compute_mask((5, 6)).any()
    assert WHOLE_IMAGE.compute_mask((5, 6)).all()
    assert WHOLE_IMAGE.compute_share((5, 6)) == 1.0


@pytest.mark.parametrize("shape", [(40, 50), (3000, 2500), (4, 40, 50)])
def test_the_share_is_that_of_the_pixels_and_of_a_large_image_nearly(shape: tuple[int, ...]) -> None:
    height, width = shape[-2:]
    area = ReviewRegion(
        outlines=(
            rectangle(0.1 * height, 0.2 * width, 0.5 * height, 0.7 * width),
            rectangle(0.2 * height, 0.2 * width, 0.6 * height, 0.7 * width),  # what two cover counts once
        )
    )
    assert area.compute_share(shape) == pytest.approx(area.compute_mask(shape).mean(), abs=0.005)
    assert area.compute_share(shape) > 0


def test_whole_slices_are_added_once_and_take_the_place_of_what_they_cover() -> None:
    area = ReviewRegion(outlines=(rectangle(0, 0, 3, 3, plane=3),)).add_planes([1, 3], 6, 8).add_planes([3], 6, 8)
    assert len(area.outlines) == 2
    seen = area.compute_mask((5, 6, 8))
    assert [bool(plane.all()) for plane in seen] == [False, True, False, True, False]
    assert not seen[0].any()
    assert area.compute_share((5, 6, 8)) == 0.4


def test_shares_are_said_so_that_little_is_not_nothing() -> None:
    assert [format_share(share) for share in (0.002, 0.123, 0.999, 1.0)] == ["under 1 %", "12 %", "99 %", "100 %"]
