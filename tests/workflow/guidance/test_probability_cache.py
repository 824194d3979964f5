import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom, predicted

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case, Prediction
from napari_medseg.inference.events import PredictionEvent, PredictionResult
from napari_medseg.inference.probabilities.probability_file import ProbabilityHeader, ProbabilityWriter
from napari_medseg.workflow.guidance.probability_cache import (
    CACHE_FOLDER,
    evict_probabilities,
    explain_missing_model,
    find_prediction,
    get_probabilities_path,
    open_probabilities,
    predict_probabilities,
)
from napari_medseg.workflow.review import predict
from napari_medseg.workflow.workspace import Workspace


class WritingEngine:
    """An engine that writes probabilities where it is asked to."""

    def __init__(self, weights_sha256: str) -> None:
        self.weights_sha256 = weights_sha256

    def predict(
        self, image: Image, _folder: Path, *, probabilities_file: Path | None = None, **_options: object
    ) -> Iterator[PredictionEvent]:
        if probabilities_file is not None:
            write(probabilities_file, image.spatial_shape, self.weights_sha256)
        yield PredictionResult(np.zeros(image.spatial_shape, np.uint8), 0.1, None, 1.0, "CPU")

    def close(self) -> None:
        pass


def write(path: Path, shape: tuple[int, ...], weights_sha256: str = "") -> None:
    writer = ProbabilityWriter(path)
    writer.write(0, 0, np.full((3, *shape), 85, np.uint8))
    writer.finish(
        ProbabilityHeader(
            shape=shape, n_maps=3, maps="classes", corner=(0, 0), size=shape, weights_sha256=weights_sha256
        )
    )


@pytest.fixture
def case_and_prediction(ws: Workspace) -> tuple[Case, Prediction]:
    ws.engine = WritingEngine(ws.registry.get_live_card("lungs").weights_sha256)  # type: ignore[assignment]
    return predicted(ws, phantom(1))


def test_a_prediction_keeps_its_probabilities_only_if_asked(
    ws: Workspace, case_and_prediction: tuple[Case, Prediction]
) -> None:
    case, prediction = case_and_prediction
    list(predict(ws, case, phantom(1)))
    assert open_probabilities(ws, case, prediction) is None
    assert not (ws.project.folder / CACHE_FOLDER).exists()
    list(predict(ws, case, phantom(1), with_probabilities=True))
    stored = open_probabilities(ws, case, prediction)
    assert stored is not None
    assert stored.shape == (3, *case.spatial_shape)


def test_deleting_the_cache_loses_nothing_and_it_is_predicted_again(
    open_workspace: Callable[[], Workspace], ws: Workspace, case_and_prediction: tuple[Case, Prediction]
) -> None:
    case, prediction = case_and_prediction
    list(predict_probabilities(ws, case, phantom(1), prediction))
    assert open_probabilities(ws, case, prediction) is not None
    path = get_probabilities_path(ws.project.folder, case, prediction.model)
    path.unlink()
    path.parent.rmdir()
    again = open_workspace()
    assert open_probabilities(again, case, prediction) is None
    assert find_prediction(again, case, prediction.model) == prediction
    assert find_prediction(again, case, "lungs-unet@9") is None


def test_a_damaged_file_and_one_of_other_weights_are_deleted(
    ws: Workspace, case_and_prediction: tuple[Case, Prediction]
) -> None:
    case, prediction = case_and_prediction
    path = get_probabilities_path(ws.project.folder, case, prediction.model)
    for number in range(3):
        path.parent.mkdir(exist_ok=True)
        if number == 0:
            path.write_bytes(b"damaged")
        elif number == 1:
            write(path, (48, 65))
        else:
            write(path, case.spatial_shape, "others")
        assert open_probabilities(ws, case, prediction) is None
        assert not path.exists()


def test_a_model_that_is_gone_is_named(ws: Workspace, case_and_prediction: tuple[Case, Prediction]) -> None:
    case, _ = case_and_prediction
    gone = Prediction(9, case.id, "lungs-unet@7", "", "", 1.0, None, "")
    assert "lungs-unet@7, which made this draft, is no longer there" in explain_missing_model(ws, gone)
    with pytest.raises(MedSegError, match="Predict again with another model"):
        predict_probabilities(ws, case, phantom(1), gone)
    write(get_probabilities_path(ws.project.folder, case, gone.model), case.spatial_shape)
    assert open_probabilities(ws, case, gone) is not None  # what is there can be used


def test_the_files_used_last_stay(tmp_path: Path) -> None:
    folder = tmp_path / CACHE_FOLDER
    folder.mkdir()
    paths = [folder / f"{number}-0.probabilities.zip" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + number, 1000 + number))
    (folder / "of a person.txt").write_bytes(bytes(1000))
    evict_probabilities(tmp_path, max_bytes=250)
    assert [path.exists() for path in paths] == [False, False, True, True]
    evict_probabilities(tmp_path, max_bytes=10)
    assert [path.exists() for path in paths] == [False, False, False, True]
    assert (folder / "of a person.txt").exists()
    evict_probabilities(tmp_path / "no project", max_bytes=10)
