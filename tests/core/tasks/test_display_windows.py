"""Windows of grey values: presets in HU, the full range, automatic, and drags."""

import numpy as np
import pytest

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.display_windows import (
    AUTOMATIC,
    FULL_RANGE,
    HU_PRESETS,
    PRESETS,
    compute_preset_limits,
    drag_limits,
    explain_missing_preset,
    find_preset,
    format_window,
)

CT = Image(np.arange(-1024, 1024, dtype=np.int16).reshape(2, 32, 32), "ZYX", units="HU")
FILM = Image(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 10, "YX")
PICTURE = Image(np.full((8, 8), 77, np.uint8), "YX")
COLOURS = Image(np.zeros((8, 8, 3), np.uint8), "YXC", units="rgb")


@pytest.mark.parametrize(
    ("image", "preset", "limits"),
    [
        (CT, "lung", (-1350, 150)),
        (CT, "mediastinum", (-125, 225)),
        (CT, "bone", (-500, 1300)),
        (CT, FULL_RANGE, (-1024, 1023)),
        (FILM, FULL_RANGE, (0, 10_230)),
        (FILM, AUTOMATIC, (51.15, 10_178.85)),
        (PICTURE, FULL_RANGE, (0, 255)),
        (PICTURE, AUTOMATIC, (77, 78)),
    ],
)
def test_presets_say_what_is_black_and_white(image: Image, preset: str, limits: tuple[float, float]) -> None:
    assert explain_missing_preset(image, preset) == ""
    assert compute_preset_limits(image, preset) == pytest.approx(limits)


def test_padding_and_what_is_no_number_do_not_count() -> None:
    padded = Image(np.array([[-2000, -5, 90]], np.int16), "YX", units="HU", padding_value=-2000)
    assert compute_preset_limits(padded, FULL_RANGE) == (-5, 90)
    holes = Image(np.array([[np.nan, -5, 90]], np.float32), "YX")
    assert compute_preset_limits(holes, FULL_RANGE) == (-5, 90)


def test_presets_that_make_no_sense_say_why() -> None:
    assert [preset for preset in PRESETS if not explain_missing_preset(CT, preset)] == list(PRESETS)
    for image in (FILM, PICTURE):
        assert [preset for preset in PRESETS if not explain_missing_preset(image, preset)] == [FULL_RANGE, AUTOMATIC]
        assert explain_missing_preset(image, "lung") == (
            "the window lung is for a CT in HU; this image has other grey values"
        )
    assert all("a colour image" in explain_missing_preset(COLOURS, preset) for preset in PRESETS)


def test_a_drag_widens_to_the_right_and_brightens_upwards() -> None:
    start = (-1350.0, 150.0)
    assert drag_limits(start, 0, 0, 1) == start
    wide_low, wide_high = drag_limits(start, 100, 0, 1)
    assert wide_high - wide_low > 1500
    assert (wide_low + wide_high) / 2 == pytest.approx(-600)
    assert drag_limits(start, 0, -100, 1) == (-1725, -225), "white begins at a lower value: brighter"
    narrow = drag_limits(start, -1e4, 0, 1)
    assert narrow == (-600.5, -599.5), "never empty"


def test_a_window_is_known_by_its_limits() -> None:
    for preset in HU_PRESETS:
        assert find_preset(CT, compute_preset_limits(CT, preset)) == preset
    assert find_preset(CT, (1, 2)) == ""
    assert find_preset(PICTURE, (0, 255)) == FULL_RANGE
    assert find_preset(FILM, compute_preset_limits(FILM, AUTOMATIC)) == AUTOMATIC
    assert find_preset(COLOURS, (0, 255)) == ""
    assert format_window((-1350, 150)) == "L -600 W 1500"
    assert format_window((0.25, 0.75)) == "L 0.5 W 0.5"
