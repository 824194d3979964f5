"""The simulated person of the benchmark of certain pixels mends the largest mistakes and leaves the rest."""

import certain_pixels
import numpy as np


def test_the_largest_mistakes_are_painted_and_certain_and_the_small_ones_are_accepted_unseen() -> None:
    reference = np.zeros((60, 60), np.uint8)
    reference[5:25, 5:25] = 1
    draft = reference.copy()
    draft[5:25, 15:25] = 0  # 200 px are missing
    draft[45:49, 45:49] = 2  # and 16 px too many
    accepted, certain = certain_pixels.mend(draft, reference)
    assert np.array_equal(accepted[:40], reference[:40])
    assert (accepted[45:49, 45:49] == 2).all()
    assert certain[5:25, 15:25].all()
    assert certain.sum() > 200, "with a rim, where the draft was right"
    assert np.array_equal(accepted[certain], reference[certain]), "what is certain is right"
    assert not certain[40:].any()
