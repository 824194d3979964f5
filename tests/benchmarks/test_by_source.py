import by_source
import numpy as np


def test_a_dome_is_a_large_closed_hole_of_the_lungs_and_a_vessel_is_none() -> None:
    lung = np.zeros((2, 200, 200), np.uint8)
    lung[0, 50:150, 50:150] = 1
    lung[0, 80:110, 80:110] = 0  # the top of the liver
    lung[0, 140:143, 140:143] = 0  # a vessel
    lung[1, 50:150, 50:150] = 1
    lung[1, 80:110, 120:160] = 0  # tissue beside the lung
    domes = by_source._find_domes(lung)
    assert domes[0].sum() == 900
    assert domes[0, 80:110, 80:110].all()
    assert not domes[1].any()
