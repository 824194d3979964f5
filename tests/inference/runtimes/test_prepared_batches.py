import threading

import numpy as np
import pytest

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.inference.preprocess import prepare
from napari_medseg.inference.runtimes import prepared_batches
from napari_medseg.inference.runtimes.prepared_batches import PreparedBatches

CARD = ModelCard(
    name="tiny",
    version=1,
    task="lungs",
    architecture=Architecture(name="unet", in_channels=1, classes=3),
    preprocessing=Preprocessing(min_side_px=32, max_side_px=64),
)


@pytest.fixture
def series() -> Image:
    return Image(np.random.default_rng(0).normal(size=(7, 40, 50)).astype(np.float32), "ZYX")


@pytest.mark.parametrize("is_ahead", [False, True])
def test_batches_in_any_order_are_as_prepared_alone(series: Image, is_ahead: bool) -> None:
    batches = PreparedBatches(series, CARD, is_ahead)
    # in order, again and smaller as after memory ran out, and to the end
    for first, n_planes in [(0, 3), (3, 3), (3, 1), (4, 1), (5, 2)]:
        found = batches.get(first, n_planes)
        np.testing.assert_array_equal(found.planes, prepare(series, CARD, first, first + n_planes).planes)


def test_the_next_batch_is_prepared_in_a_thread_for_a_gpu_only(series: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[int, str] = {}

    def note(image: Image, card: ModelCard, first: int, stop: int) -> object:
        threads[first] = threading.current_thread().name
        return prepare(image, card, first, stop)

    monkeypatch.setattr(prepared_batches, "prepare", note)
    here = threading.current_thread().name
    for is_ahead in (True, False):
        batches = PreparedBatches(series, CARD, is_ahead)
        for first in (0, 3, 6):
            batches.get(first, 3)
        assert [threads[first] == here for first in (0, 3, 6)] == [True, not is_ahead, not is_ahead]
        assert 9 not in threads
