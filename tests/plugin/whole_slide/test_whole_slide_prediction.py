"""The row "Predict slide": plan, start, stop, continue, labels and density on the slide."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from plugin_phantoms import PhantomEngine, Texts
from pytestqt.qtbot import QtBot
from whole_slide_phantoms import DiscModel, draw_discs, write_slide

from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import BUNDLED_MODELS, ModelRegistry
from napari_medseg.core.project.database import Project
from napari_medseg.core.tasks.bundled_tasks import get_task
from napari_medseg.inference.events import PredictionEvent
from napari_medseg.plugin.controllers.prediction_queue import PredictionQueue
from napari_medseg.plugin.layers import METADATA_KEY
from napari_medseg.plugin.slides.slide_layer import SLIDE_KEY
from napari_medseg.plugin.whole_slide.slide_labels import DENSITY_NAME, LABELS_NAME, LayerPlace, name_density
from napari_medseg.plugin.whole_slide.whole_slide_prediction import WholeSlidePrediction
from napari_medseg.workflow.whole_slide.density import DensityMap
from napari_medseg.workflow.whole_slide.prediction import begin_prediction
from napari_medseg.workflow.workspace import Workspace

N_DISCS = 60
PLACE = LayerPlace((0.00025, 0.00025), "mm")


class SlideEngine(PhantomEngine):
    """Finds the discs of a chunk; `n_allowed` chunks until it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.model = DiscModel()
        self.n_allowed = 99

    def predict(self, image: Image, version_folder: Path, **_: Any) -> Iterator[PredictionEvent]:
        for event in self.model.predict(image):
            while self.model.n_predicted > self.n_allowed:
                yield event  # as an engine that is busy for long
            yield event


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    picture = np.full((1500, 4100, 3), 250, np.uint8)
    picture[100:1400, 100:2300] = draw_discs(1300, 2200, N_DISCS)
    return write_slide(tmp_path_factory.mktemp("slide") / "a.tif", picture)


@pytest.fixture
def desk(tmp_path: Path, qtbot: QtBot) -> Iterator[SimpleNamespace]:
    project, registry = Project.create(tmp_path / "project"), ModelRegistry(tmp_path / "registry", BUNDLED_MODELS)
    engine = SlideEngine()
    ws = Workspace(project, registry, engine, samples=tmp_path)
    viewer, queue = ViewerModel(), PredictionQueue(ws)
    row = WholeSlidePrediction(viewer, ws, queue, lambda: get_task("nuclei"))
    qtbot.addWidget(row.row)
    yield SimpleNamespace(row=row, viewer=viewer, engine=engine, ws=ws, queue=queue)
    row.close_down()
    queue.close()
    ws.close()


def is_offered(row: WholeSlidePrediction, text: str) -> bool:
    return row.row.button.isVisible() and row.row.button.text() == text


def plan_and_start(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    desk.row.set_slide(slide, PLACE)
    desk.row.row.button.click()
    qtbot.waitUntil(lambda: is_offered(desk.row, "Start"))
    desk.row.row.button.click()


def test_a_slide_is_planned_predicted_and_shown(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    row, viewer = desk.row, desk.viewer
    assert not row.row.button.isVisible()
    row.set_slide(slide, PLACE)
    assert is_offered(row, "Predict slide")
    row.row.button.click()
    qtbot.waitUntil(lambda: is_offered(row, "Start"))
    assert "2 chunks" in row.row.text.text()
    assert "MB on the disk" in row.row.text.text()
    assert "GB free" in row.row.text.text()
    assert not row.is_running
    row.row.button.click()
    assert is_offered(row, "Stop")
    qtbot.waitUntil(lambda: not row.is_running)
    assert row.row.text.text() == f"2 of 2 chunks, {N_DISCS} objects"
    qtbot.waitUntil(lambda: is_offered(row, "Predicted"))
    labels = viewer.layers[LABELS_NAME]
    assert labels.multiscale
    assert not labels.editable
    assert labels.scale.tolist() == [0.00025, 0.00025]
    qtbot.waitUntil(lambda: len(np.unique(labels.data[0][100:1400, 100:2300])) == N_DISCS + 1)
    row.row.density.trigger()
    qtbot.waitUntil(lambda: DENSITY_NAME in viewer.layers)
    assert viewer.layers[DENSITY_NAME].data.max() > 0
    row.row.density.trigger()
    assert DENSITY_NAME not in viewer.layers
    row.set_slide(None)
    assert not len(viewer.layers)
    assert not row.row.button.isVisible()


def test_it_stops_and_goes_on_later(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    row = desk.row
    desk.engine.n_allowed = 1
    plan_and_start(desk, slide, qtbot)
    qtbot.waitUntil(lambda: row.row.text.text().startswith("1 of 2 chunks"))
    row.row.button.click()
    assert not row.is_running
    assert is_offered(row, "Continue")
    row.set_slide(None)
    desk.engine.n_allowed = 99
    row.set_slide(slide, PLACE)
    qtbot.waitUntil(lambda: is_offered(row, "Continue"))
    assert row.row.text.text().startswith("1 of 2 chunks")
    assert LABELS_NAME in desk.viewer.layers
    row.row.button.click()
    qtbot.waitUntil(lambda: not row.is_running)
    assert row.row.text.text() == f"2 of 2 chunks, {N_DISCS} objects"


def test_predictions_of_cases_go_first(
    desk: SimpleNamespace, slide: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.queue._running = object()
    plan_and_start(desk, slide, qtbot)
    qtbot.waitUntil(lambda: "waits for your prediction" in desk.row.row.text.text())
    assert desk.engine.model.n_predicted == 0
    desk.queue._running = None
    qtbot.waitUntil(lambda: not desk.row.is_running)
    assert desk.row.row.text.text().startswith("2 of 2 chunks")


def test_the_plan_can_be_dropped(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    row = desk.row
    row.set_slide(slide, PLACE)
    row.row.button.click()
    qtbot.waitUntil(lambda: is_offered(row, "Start"))
    row.row.not_now.trigger()
    assert is_offered(row, "Predict slide")
    assert row.row.text.text() == ""


def test_a_model_that_needs_the_whole_image_says_so(desk: SimpleNamespace, slide: Path, told: Texts) -> None:
    row = WholeSlidePrediction(desk.viewer, desk.ws, desk.queue, lambda: get_task("covid"))
    row.set_slide(slide, PLACE)
    row.row.button.click()
    assert any("chunk by chunk" in text for text in told)
    row.close_down()


def test_labels_are_exported_into_a_folder(desk: SimpleNamespace, slide: Path, qtbot: QtBot, tmp_path: Path) -> None:
    row = desk.row
    assert not row.row.export.isVisible()
    plan_and_start(desk, slide, qtbot)
    qtbot.waitUntil(lambda: not row.is_running)
    assert row.row.export.isVisible()
    row.exporter.ask = lambda *_: tmp_path / "written"
    row.row.export.trigger()
    qtbot.waitUntil(lambda: not row.exporter.is_running)
    names = {path.name for path in (tmp_path / "written").iterdir()}
    assert names == {"labels.geojson", "labels.zarr", "density.tif", "density.csv", "slide.json"}


def test_another_task_has_another_prediction(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    row = desk.row
    plan_and_start(desk, slide, qtbot)
    qtbot.waitUntil(lambda: not row.is_running)
    qtbot.waitUntil(lambda: LABELS_NAME in desk.viewer.layers)
    row._get_task = lambda: get_task("instruments")
    row.follow_task()
    qtbot.waitUntil(lambda: is_offered(row, "Predict slide"))
    assert LABELS_NAME not in desk.viewer.layers
    row._get_task = lambda: get_task("nuclei")
    row.follow_task()
    qtbot.waitUntil(lambda: is_offered(row, "Predicted"))
    assert LABELS_NAME in desk.viewer.layers


def test_a_version_that_went_live_meanwhile_is_no_dead_end(
    desk: SimpleNamespace, slide: Path, qtbot: QtBot, told: Texts
) -> None:
    row = desk.row
    plan_and_start(desk, slide, qtbot)
    qtbot.waitUntil(lambda: is_offered(row, "Predicted"))
    row._folder = row._folder.with_name("nuclei-unet@1")  # what the row shows is of the version before
    row.row.button.click()
    assert any("is live now" in text for text in told)
    qtbot.waitUntil(lambda: is_offered(row, "Predicted"))
    assert row._folder.name == desk.ws.registry.get_live_card("nuclei").id


def test_a_plan_that_was_begun_elsewhere_goes_on(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    """Its button is pressed before the window has found what is there."""
    row = desk.row
    row.set_slide(slide, PLACE)
    row.row.button.click()
    qtbot.waitUntil(lambda: is_offered(row, "Start"))
    begin_prediction(row._folder, row._plan).close()
    row.row.button.click()
    qtbot.waitUntil(lambda: is_offered(row, "Predicted"))
    assert not is_offered(row, "Start")


@pytest.mark.parametrize(
    ("count", "um", "name"),
    [(3, 0.25, DENSITY_NAME), (3, None, "slide: objects per megapixel"), (0, 0.25, "slide: share of all classes")],
)
def test_the_map_says_what_its_values_are(count: int, um: float | None, name: str) -> None:
    density = DensityMap(1000, 1.0, um, np.ones((1, 1)), np.full((1, 1), count), np.ones((1, 1, 1)), ("tumour",))
    assert name_density(density) == name


def test_labels_come_and_go_with_the_slide(desk: SimpleNamespace, slide: Path, qtbot: QtBot) -> None:
    """A field is opened as a case: the slide leaves the viewer, and its prediction goes on."""
    viewer, row = desk.viewer, desk.row
    shown = {"metadata": {METADATA_KEY: {SLIDE_KEY: slide}}, "scale": (0.00025, 0.00025), "units": ("mm", "mm")}
    layer = viewer.add_image(np.zeros((10, 10)), **shown)
    desk.engine.n_allowed = 1
    row.row.button.click()
    qtbot.waitUntil(lambda: is_offered(row, "Start"))
    row.row.button.click()
    qtbot.waitUntil(lambda: LABELS_NAME in viewer.layers)
    viewer.layers.remove(layer)
    assert not len(viewer.layers)
    assert row.is_running
    desk.engine.n_allowed = 99
    qtbot.waitUntil(lambda: not row.is_running)
    assert not len(viewer.layers)
    viewer.add_image(np.zeros((10, 10)), **shown)
    qtbot.waitUntil(lambda: LABELS_NAME in viewer.layers)
    labels = viewer.layers[LABELS_NAME]
    assert [str(unit) for unit in labels.units] == ["millimeter", "millimeter"]
    assert labels.scale.tolist() == [0.00025, 0.00025]
