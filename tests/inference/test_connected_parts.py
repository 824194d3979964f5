import numpy as np

from napari_medseg.core.model_card import PostprocessingStep
from napari_medseg.inference.postprocess import apply_postprocessing_step

STEP = PostprocessingStep(name="drop_parts_apart")
MM = (5.0, 1.0, 1.0)


def chest() -> np.ndarray:
    """Two lungs of 8 slices, and gas below them that lies apart but is as large as a sixth of a lung."""
    labels = np.zeros((12, 30, 40), np.uint8)
    labels[4:, 5:25, 4:16] = 1
    labels[4:, 5:25, 24:36] = 2
    labels[:2, 8:20, 20:34] = 2
    return labels


def test_gas_below_the_lungs_is_dropped_and_a_part_that_hangs_on_the_other_lung_stays() -> None:
    labels = chest()
    labels[8, 10:14, 16:20] = 2  # a patch with the other label, on the right lung
    expected = labels.copy()
    expected[:2] = 0
    apply_postprocessing_step(labels, STEP, MM)
    assert np.array_equal(labels, expected)


def test_a_slice_and_a_stack_of_unknown_spacing_stay_as_they_are() -> None:
    labels = chest()
    for part, spacing in ((labels.copy(), None), (labels[0].copy(), (1.0, 1.0))):
        before = part.copy()
        apply_postprocessing_step(part, STEP, spacing)
        assert np.array_equal(part, before)


def test_the_largest_part_of_a_missing_lung_keeps_nothing() -> None:
    labels = chest()
    labels[4:, :, 24:36] = 0
    labels[:2] = 0
    labels[0, 8:11, 20:24] = 2  # the only part of the left label: gas
    apply_postprocessing_step(labels, STEP, MM)
    assert set(np.unique(labels)) == {0, 1}
    empty = np.zeros((3, 4, 4), np.uint8)
    apply_postprocessing_step(empty, STEP, MM)
    assert not empty.any()
