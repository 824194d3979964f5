"""File > Open Sample gives real images with their geometry."""

from napari_medseg.core.image import Image
from napari_medseg.plugin.sample_data import chest_xrays, ct_series, ct_slice


def test_ct_slice_and_series_come_in_millimetres() -> None:
    ((pixels, arguments, kind),) = ct_slice()
    assert (pixels.shape, kind) == ((512, 512), "image")
    assert arguments["metadata"]["medseg"]["image"].units == "HU"
    ((pixels, arguments, kind),) = ct_series()
    assert pixels.shape == (16, 512, 512)
    assert tuple(arguments["scale"]) == (15.0, 0.841796875, 0.841796875)


def test_xrays_are_of_different_children() -> None:
    images = [arguments["metadata"]["medseg"]["image"] for _, arguments, _ in chest_xrays()]
    assert all(isinstance(image, Image) and image.axes == "YX" for image in images)
    assert len({image.group for image in images}) == len(images) == 6
