"""The bundled model of nuclei on real tissue: nine chunks of a slide against one image."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage
from whole_slide_phantoms import plan_small, read_nuclei_card, write_slide

from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.quality.instance_metrics import compute_object_scores
from napari_medseg.core.slides.open_slide import open_slide
from napari_medseg.workflow.whole_slide.chunks import HALO_PX
from napari_medseg.workflow.whole_slide.prediction import begin_prediction, predict_chunks

CORE_PX = 340
COUNT_TOLERANCE, LEAST_PQ = 0.02, 0.93
"""A chunk sees less around its nuclei than the whole image does, so outlines near its borders differ by pixels."""


@pytest.mark.shared
def test_nine_chunks_of_tissue_are_as_one_image(tmp_path: Path, shared_data: Path) -> None:
    from napari_medseg.inference.predictor import Predictor

    file = shared_data / "nuclei" / "monuseg" / "images" / "TCGA-18-5592-01Z-00-DX1.jpg"
    picture = np.array(PilImage.open(file).convert("RGB").crop((0, 0, 1000, 1000)))
    card = read_nuclei_card()
    models = ModelRegistry(tmp_path / "registry", BUNDLED_MODELS)
    predictor = Predictor.load(models.get_folder(card.id), "cpu")
    expected = predictor.predict_labels(Image(picture, "YXC", (0.00025, 0.00025), units="rgb"))
    slide = open_slide(write_slide(tmp_path / "a.tif", picture))
    with begin_prediction(tmp_path / "out", plan_small(slide, card, CORE_PX, HALO_PX)) as whole:
        assert whole.table.n_chunks == 9
        for _ in predict_chunks(whole, slide, predictor.predict):
            pass
        found: NDArray[np.uint32] = whole.labels.read((slice(0, 1000), slice(0, 1000)))
        n_found = whole.table.n_objects
    slide.close()
    scores = compute_object_scores(found, expected)
    n_expected = len(np.unique(expected)) - 1
    sys.stderr.write(f"{n_found} objects, {n_expected} in one image, PQ {scores.pq:.3f}, DQ {scores.dq:.3f}")
    assert n_expected > 300
    assert abs(n_found - n_expected) <= COUNT_TOLERANCE * n_expected
    assert scores.pq >= LEAST_PQ
    assert find_cut_share(found) <= find_cut_share(expected) + 0.005


def find_cut_share(labels: NDArray[np.uint32]) -> float:
    """Return which share of the pixels beside the borders of chunks changes its object exactly there."""
    n_changed = n_inside = 0
    for labelled in (labels, labels.T):
        for border in range(CORE_PX, 1000, CORE_PX):
            one, other = labelled[border - 1], labelled[border]
            both = (one > 0) & (other > 0)
            n_inside += np.count_nonzero(both)
            n_changed += np.count_nonzero(both & (one != other))
    return n_changed / n_inside
