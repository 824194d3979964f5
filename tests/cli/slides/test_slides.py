"""`medseg slides`: info, predict (planned, stopped, continued), export with the corrections of a project."""

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from slide_phantoms import make_picture, write_ome_zarr
from typer.testing import CliRunner, Result
from whole_slide_phantoms import DiscModel, draw_discs, write_slide

from napari_medseg.cli.main import app
from napari_medseg.cli.slides import predict as command
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.inference.events import PredictionEvent
from napari_medseg.workflow.cases import load_image
from napari_medseg.workflow.review import accept, open_review
from napari_medseg.workflow.slides.slide_fields import list_slide_fields
from napari_medseg.workflow.workspace import Workspace

N_DISCS = 60


class NamedDiscModel(DiscModel):
    device_title = "CPU"
    n_allowed = 99

    def predict(self, image: Image) -> Iterator[PredictionEvent]:
        if self.n_predicted == self.n_allowed:
            raise MedSegError("the power went")
        yield from super().predict(image)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> NamedDiscModel:
    fake = NamedDiscModel()
    monkeypatch.setattr(command, "load_predictor", lambda *_, **__: fake)
    return fake


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chunks of tissue beside white glass."""
    picture = np.full((1500, 4100, 3), 250, np.uint8)
    picture[100:1400, 100:2300] = draw_discs(1300, 2200, N_DISCS)
    return write_slide(tmp_path_factory.mktemp("slide") / "a.tif", picture)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["slides", *map(str, arguments)], catch_exceptions=True)


def read_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_info(slide: Path) -> None:
    described = read_json(invoke("info", slide, "--json"))
    assert (described["width"], described["height"]) == (4100, 1500)
    assert described["um_per_px"] == [0.25, 0.25]
    assert [level["downsample"] for level in described["levels"]] == pytest.approx([1, 2, 4, 8, 16], rel=0.01)
    assert "4,100 x 1,500 pixels, 0.25 x 0.25 µm" in invoke("info", slide).stdout


def test_the_plan_says_what_it_takes(tmp_path: Path, slide: Path, model: NamedDiscModel) -> None:
    plan = read_json(invoke("predict", slide, "-o", tmp_path / "out", "--plan", "--json"))
    assert plan["chunks"] == 2
    assert plan["bytes"] > 100_000
    assert (
        read_json(invoke("predict", slide, "-o", tmp_path / "out", "--plan", "--everywhere", "--json"))["chunks"] == 3
    )
    assert not (tmp_path / "out").exists()
    assert model.n_predicted == 0


def test_a_prediction_that_was_stopped_goes_on(tmp_path: Path, slide: Path, model: NamedDiscModel) -> None:
    model.n_allowed = 1
    stopped = invoke("predict", slide, "-o", tmp_path / "out")
    assert "the power went" in str(stopped.exception)
    model.n_allowed = 99
    done = read_json(invoke("predict", slide, "-o", tmp_path / "out", "--json"))
    assert model.n_predicted == 2
    assert (done["objects"], done["chunks"], done["failed"]) == (N_DISCS, 2, [])
    assert read_json(invoke("predict", slide, "-o", tmp_path / "out", "--json"))["objects"] == N_DISCS
    assert model.n_predicted == 2
    exported = read_json(
        invoke("export", tmp_path / "out", "-o", tmp_path / "x", "--format", "geojson,ome-zarr", "--json")
    )
    assert [Path(file).name for file in exported["files"]] == ["labels.geojson", "labels.zarr"]
    features = json.loads((tmp_path / "x" / "labels.geojson").read_text("utf-8"))["features"]
    assert len(features) == N_DISCS
    assert zarr.open_group(str(tmp_path / "x" / "labels.zarr"), mode="r")["0"].shape == (1500, 4100)


def test_several_slides_get_a_folder_each_and_one_that_fails_stops_no_other(
    tmp_path: Path, slide: Path, model: NamedDiscModel
) -> None:
    torn = tmp_path / "torn.svs"
    torn.write_bytes(b"II*torn")
    other = write_slide(tmp_path / "b.tif", draw_discs(1100, 1200, 5))
    result = invoke("predict", slide, torn, other, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    first, failed, last = json.loads(result.stdout)["slides"]
    assert (first["objects"], last["objects"]) == (N_DISCS, 5)
    assert failed["slide"] == str(torn)
    assert failed["error"] in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    n_predicted = model.n_predicted
    assert json.loads(invoke("predict", slide, torn, other, "-o", tmp_path / "out", "--json").stdout)["slides"][0]
    assert model.n_predicted == n_predicted
    refused = invoke("predict", slide, tmp_path / "A.svs", "-o", tmp_path / "out")
    assert "several slides are named a" in str(refused.exception)


def test_the_folder_of_another_slide_is_refused(tmp_path: Path, slide: Path, model: NamedDiscModel) -> None:
    other = write_slide(tmp_path / "b.tif", draw_discs(1100, 1200, 5))
    read_json(invoke("predict", other, "-o", tmp_path / "out", "--json"))
    refused = invoke("predict", slide, "-o", tmp_path / "out")
    assert "another slide" in str(refused.exception)
    refused = invoke("export", tmp_path / "out", "-o", tmp_path / "x", "--slide", slide, "--project", tmp_path)
    assert "another slide" in str(refused.exception)


def test_a_model_that_needs_a_whole_image_is_refused(tmp_path: Path, slide: Path) -> None:
    refused = invoke("predict", slide, "-o", tmp_path / "out", "--task", "covid")
    assert "chunk by chunk" in str(refused.exception)
    assert not (tmp_path / "out").exists()


def test_fields_on_tissue_become_cases(tmp_path: Path, slide: Path) -> None:
    places = ("--project", tmp_path / "project", "--registry", tmp_path / "registry", "--json")
    assert "holds no project" in str(invoke("fields", slide, *places).exception)
    assert "Check the name" in str(invoke("fields", tmp_path / "c.svs", "--add", 1, *places).exception)
    added = read_json(invoke("fields", slide, "--add", 3, "--size", 300, *places))["fields"]
    assert len(added) == 3
    assert all((one["width"], one["height"], one["state"]) == (300, 300, "new") for one in added)
    assert all(one["x"] < 2300 for one in added)
    more = read_json(invoke("fields", slide, "--add", 2, "--size", 300, "--seed", 5, *places))["fields"]
    assert len({(one["x"], one["y"]) for one in more}) == 5


def test_fields_of_an_address_are_those_that_the_window_shows(tmp_path: Path) -> None:
    address = "memory://command/a.zarr"
    write_ome_zarr(zarr.storage.FsspecStore.from_url(address), make_picture(), 2)
    places = ("--project", tmp_path / "project", "--registry", tmp_path / "registry")
    (added,) = read_json(invoke("fields", address, "--add", 1, "--size", 300, *places, "--json"))["fields"]
    with contextlib.closing(Workspace.open(tmp_path / "project", tmp_path / "registry")) as ws:
        (found,) = list_slide_fields(ws, Path(address))  # no folder of this computer is before it
    assert (found.field.x, found.field.y) == (added["x"], added["y"])


def test_corrected_fields_win_on_the_command_line(tmp_path: Path, slide: Path, model: NamedDiscModel) -> None:
    project = ("--project", tmp_path / "project", "--registry", tmp_path / "registry")
    read_json(invoke("predict", slide, "-o", tmp_path / "out", "--registry", tmp_path / "registry", "--json"))
    read_json(invoke("fields", slide, "--add", 1, "--size", 300, *project, "--json"))
    ws = Workspace.open(tmp_path / "project", tmp_path / "registry")
    ((field, case, _),) = [(one.field, one.row.case, 0) for one in list_slide_fields(ws, slide)]
    accept(ws, open_review(ws, case, None), np.zeros((300, 300), np.uint16), load_image(ws, case))
    stored = [path for path in (tmp_path / "project/labels").iterdir() if path.is_file()]
    ws.close()
    target = tmp_path / "x"
    asked = ("--slide", slide, "--fields", "--format", "ome-zarr", "--json")
    exported = read_json(invoke("export", tmp_path / "out", "-o", target, *asked, *project))
    assert exported["fields"] == 1
    assert len([file for file in exported["files"] if file.endswith(".tif")]) == 2
    labels = zarr.open_group(str(target / "labels.zarr"), mode="r")["0"]
    assert not labels[field.y : field.y + 300, field.x : field.x + 300].any()
    assert labels[:].any()
    for file in stored:
        file.write_bytes(b"damaged")
    for more in ((), ("--fields",)):  # the rest of the slide is written all the same
        refused = invoke("export", tmp_path / "out", "-o", tmp_path / "y", "--slide", slide, *more, *project)
        assert refused.exit_code == 1
        assert "left out" in str(refused.exception).lower()
        assert (tmp_path / "y/labels.geojson").is_file()
        shutil.rmtree(tmp_path / "y")
