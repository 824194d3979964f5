"""File > Open Sample gives real images with their geometry."""

import numpy as np

from napari_medseg.core.image import Image
from napari_medseg.core.tasks.bundled_tasks import TASKS
from napari_medseg.core.tasks.detection import task_is_meant_for
from napari_medseg.plugin.sample_data import (
    chest_xrays,
    ct_series,
    ct_slice,
    drawn_lesions,
    laparoscopy,
    stained_tissue,
)


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


def test_there_is_a_sample_for_each_task_and_it_is_taken_for_that_task() -> None:
    samples = {"lungs": ct_slice, "covid": drawn_lesions, "nuclei": stained_tissue, "instruments": laparoscopy}
    assert samples.keys() == TASKS.keys()
    for name, sample in samples.items():
        image = sample()[0][1]["metadata"]["medseg"]["image"]
        assert image.axes in TASKS[name].axes
        assert task_is_meant_for(TASKS[name], image)


def test_the_lesions_say_what_they_are_for() -> None:
    assert drawn_lesions()[0][1]["metadata"]["medseg"]["task"] == "covid"
    assert "task" not in ct_slice()[0][1]["metadata"]["medseg"]


def test_drawn_lesions_differ_from_the_real_slice_in_the_lungs_only() -> None:
    real, drawn = (sample()[0][0].astype(int) for sample in (ct_slice, drawn_lesions))
    changed = np.abs(real - drawn) > 60
    assert 2_000 < np.count_nonzero(changed) < 30_000
    assert np.median(real[changed]) < -600
