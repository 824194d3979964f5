"""When it is suspicious that nothing was found, and when it is normal."""

import numpy as np
import pytest

from napari_medseg.core.image import Image
from napari_medseg.core.quality.label_checks import check_labels
from napari_medseg.core.tasks.absence import explain_absence, list_labels_never_drawn
from napari_medseg.core.tasks.bundled_tasks import TASKS


def make_tissue(colour: tuple[int, int, int], share: float = 1.0) -> Image:
    pixels = np.full((100, 100, 3), 245, np.uint8)
    pixels[: round(100 * share)] = colour
    return Image(pixels, "YXC")


def make_ct(air_share: float, n_slices: int = 1) -> Image:
    """A round body on air, with a square of air in it."""
    y, x = np.mgrid[:128, :128]
    inside = (y - 64) ** 2 + (x - 64) ** 2 < 55**2
    plane = np.where(inside, 40.0, -1000.0)
    half = round((air_share * np.count_nonzero(inside)) ** 0.5 / 2)
    plane[64 - half : 64 + half, 64 - half : 64 + half] = -850.0
    return Image(np.stack([plane] * n_slices).astype(np.float32), "ZYX", units="HU")


def explain(task: str, image: Image, labels: np.ndarray | None = None) -> str:
    empty = np.zeros(image.spatial_shape, np.uint8)
    return explain_absence(empty if labels is None else labels, TASKS[task], image)


def test_no_nucleus_in_stained_tissue_is_suspicious_but_not_on_glass() -> None:
    assert "no nucleus" in explain("nuclei", make_tissue((200, 120, 180)))
    assert "no nucleus" in explain("nuclei", make_tissue((200, 120, 180), share=0.4))
    assert explain("nuclei", make_tissue((200, 120, 180), share=0.1)) == ""
    assert explain("nuclei", make_tissue((245, 244, 246))) == "", "glass"
    assert explain("nuclei", make_tissue((0, 0, 0), share=0.9)) == "", "black"
    image = make_tissue((200, 120, 180))
    one = np.zeros(image.spatial_shape, np.uint32)
    one[5, 5] = 1
    assert explain("nuclei", image, one) == ""


def test_no_lung_is_suspicious_where_there_is_air_in_the_body() -> None:
    assert "no lung" in explain("lungs", make_ct(0.3))
    assert explain("lungs", make_ct(0.03)) == "", "gas in the bowel"
    assert explain("lungs", make_ct(0.0, n_slices=12)) == "", "the abdomen"
    grey = Image(np.zeros((12, 32, 32), np.uint8), "ZYX")
    assert "volume" in explain("lungs", grey)
    assert explain("lungs", Image(np.zeros((32, 32), np.uint8), "YX")) == "", "one slice may be of the neck"
    film = Image(np.zeros((32, 32), np.uint8), "YX", modality="DX")
    assert "X-ray" in explain("lungs", film)


def test_one_lung_is_suspicious_in_a_volume_and_in_a_film_not_in_a_slice() -> None:
    volume = make_ct(0.3, n_slices=12)
    right = np.zeros(volume.spatial_shape, np.uint8)
    right[3, 60:70, 60:70] = 1
    assert "only the right lung was found, not the left lung" in explain("lungs", volume, right)
    single = make_ct(0.3)
    assert explain("lungs", single, right[3:4]) == ""


@pytest.mark.parametrize("task", ["covid", "instruments"])
def test_healthy_lungs_and_frames_without_instrument_are_normal(task: str) -> None:
    image = make_ct(0.3) if task == "covid" else make_tissue((200, 60, 50))
    assert explain(task, image) == ""


def test_the_checks_of_labels_say_it_once() -> None:
    image = make_tissue((200, 120, 180))
    (finding,) = check_labels(np.zeros(image.spatial_shape, np.uint32), TASKS["nuclei"], image)
    assert (finding.kind, finding.blocking) == ("empty", False)
    assert "suspicious" in finding.text


def test_a_label_without_a_class_of_the_network_is_never_drawn() -> None:
    assert list_labels_never_drawn(TASKS["covid"], 3) == ("pleural effusion",)
    assert list_labels_never_drawn(TASKS["covid"], 4) == ()
    assert list_labels_never_drawn(TASKS["nuclei"], 3) == ()
