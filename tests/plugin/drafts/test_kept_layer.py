"""Labels that are moved off their image would be accepted where they were before."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from correction_phantoms import open_predicted
from plugin_phantoms import Texts, phantom, phantom_labels

from napari_medseg.plugin.drafts.kept_layer import KeptLayer


@pytest.fixture
def kept(window: SimpleNamespace) -> Iterator[SimpleNamespace]:
    window.worklist.set_predicts_automatically(False)
    layer = KeptLayer(window.viewer, window.case_controller, lambda: window.worklist.open_task)
    open_predicted(window, phantom(n_slices=3), "lungs", phantom_labels(3))
    yield window
    layer.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("translate", (0, 4, 4)),
        ("scale", (1, 1, 1)),
        ("rotate", (20, 0, 0)),
        ("affine", np.diag([1.0, 2.0, 1.0, 1.0])),
    ],
)
def test_labels_cannot_be_moved_off_their_image(kept: SimpleNamespace, told: Texts, name: str, value: object) -> None:
    current = kept.case_controller.current
    layer, place = current.labels_layer, current.image_layer.data_to_world((1, 10, 20))
    for _step in range(2):  # of a drag
        setattr(layer, name, value)
        assert layer.data_to_world((1, 10, 20)) == pytest.approx(place)
    assert ["cannot be moved off it" in text for text in told] == [True]


def test_labels_follow_an_image_that_is_moved(kept: SimpleNamespace, told: Texts) -> None:
    current = kept.case_controller.current
    current.image_layer.translate = (0, 3, 3)
    assert current.labels_layer.translate.tolist() == [0, 3, 3]
    assert len(told) == 0
    open_predicted(kept, phantom(1, n_slices=3), "lungs", phantom_labels(3))
    following = kept.case_controller.current
    assert following.labels_layer.translate.tolist() == following.image_layer.translate.tolist() == [0, 0, 0]
    following.labels_layer.translate = (0, 1, 1)
    assert following.labels_layer.translate.tolist() == [0, 0, 0]
