import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Preprocessing
from training.augmentation.copy_paste import PastePlane, paste_region
from training.augmentation.presets import AUGMENTATIONS
from training.augmentation.spatial import Augmenter
from training.data.dataset import BatchSampler, LabelledImage, LabelledPlane
from training.recipe import PasteSettings


def lungs(shape: tuple[int, int], left: int, width: int, dark: float, bright: float) -> PastePlane:
    """Two dark rectangles (labels 1 and 2) with tissue between them, `width` pixels wide each."""
    labels = np.zeros(shape, np.uint8)
    top, bottom = shape[0] // 4, 3 * shape[0] // 4
    labels[top:bottom, left : left + width] = 1
    labels[top:bottom, left + 2 * width : left + 3 * width] = 2
    return PastePlane(np.where(labels > 0, dark, bright)[None].astype(np.float32), labels)


def test_lungs_of_a_cropped_slice_take_the_place_size_and_grey_values_of_those_of_a_body() -> None:
    body = lungs((120, 160), 40, 24, dark=-0.8, bright=0.2)
    crop = lungs((60, 90), 2, 28, dark=-0.3, bright=0.9)
    crop.pixels[0, 20:26, 10:16] = 0.9  # a consolidation in the right lung
    pasted = paste_region(crop, body, PasteSettings(share=1, region="hull", place="labels"))
    assert pasted is not None
    assert (pasted.labels == body.labels).mean() > 0.97
    middle = pasted.pixels[0, 60]
    assert middle[50] == pytest.approx(-0.8, abs=0.05)
    assert middle[76] == pytest.approx(0.2, abs=0.05)
    bright = (pasted.pixels[0] > 0) & (pasted.labels == 1)
    assert bright.sum() > 20, "the consolidation came along and is labelled as lung"
    assert np.array_equal(pasted.pixels[0, :10], body.pixels[0, :10]), "far from the lungs the body is as it was"


def test_lungs_do_not_fit_a_plane_with_other_labels() -> None:
    body, crop = lungs((120, 160), 40, 24, -0.8, 0.2), lungs((60, 90), 2, 28, -0.3, 0.9)
    body.labels[body.labels == 2] = 0
    settings = PasteSettings(share=1, region="hull", place="labels")
    assert paste_region(crop, body, settings) is None
    body.labels[:] = 0
    assert paste_region(crop, body, settings) is None


def test_a_region_is_pasted_at_the_same_relative_place_and_keeps_other_labels() -> None:
    guest = PastePlane(np.full((1, 50, 50), 0.5, np.float32), np.zeros((50, 50), np.uint8))
    guest.labels[10:20, 30:40] = 2
    host = PastePlane(np.full((1, 100, 100), -0.5, np.float32), np.zeros((100, 100), np.uint8))
    host.labels[70:90, 10:30] = 1
    pasted = paste_region(guest, host, PasteSettings(share=1))
    assert pasted is not None
    assert pasted.pixels[0, 30, 70] == pytest.approx(0.5, abs=0.01)
    assert pasted.pixels[0, 80, 20] == -0.5
    assert (pasted.labels[22:38, 62:78] == 2).all()
    assert (pasted.labels == 1).sum() == 400
    empty = PastePlane(host.pixels, np.zeros((100, 100), np.uint8))
    assert paste_region(empty, host, PasteSettings(share=1)) is None


def make_image(plane: PastePlane, source: str) -> LabelledImage:
    return LabelledImage(source, (LabelledPlane((plane.pixels.astype(np.float16),), plane.labels),), source=source)


def make_batches(**paste: object) -> BatchSampler:
    augmenter = Augmenter(AUGMENTATIONS["none"], Preprocessing(), 96, (1, 2))
    body, crop = lungs((96, 96), 30, 12, -0.8, 0.2), lungs((60, 90), 2, 28, -0.3, 0.9)
    train = [make_image(body, "bodies"), make_image(crop, "crops")]
    return BatchSampler(train, [], augmenter, augmenter, 4, 0.0, 1, paste=PasteSettings(**paste))


def test_patches_of_a_batch_show_regions_of_the_named_sources_in_the_named_images() -> None:
    batches = make_batches(share=1, sources=["crops"], onto=["bodies"], region="hull", place="labels")
    pixels, labels = batches.make_batch(0)
    assert pixels.shape == (4, 1, 96, 96)
    assert all((one[:20] == 0).all() and one[48].max() == 2 for one in labels)
    again, _ = batches.make_batch(0)
    assert np.array_equal(pixels, again)


def test_a_source_that_does_not_exist_is_named() -> None:
    with pytest.raises(MedSegError, match="elsewhere"):
        make_batches(share=1, sources=["elsewhere"]).make_batch(0)
