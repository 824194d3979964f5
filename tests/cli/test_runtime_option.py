"""`--runtime`: which commands take it, what it does, and where it is recorded."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from workflow_phantoms import phantom

from napari_medseg.cli import predict as command
from napari_medseg.cli.evaluate import Scored
from napari_medseg.cli.options import choose_wish, load_predictor
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_registry import ModelRegistry
from napari_medseg.inference.runtimes.runtime_names import has_openvino
from napari_medseg.inference.tuning.settings import MEASURE_VARIABLE
from napari_medseg.workflow.cluster.case_request import make_model_request
from napari_medseg.workflow.preferences import Preferences, write_preferences

Call = Callable[..., tuple[int, str, str]]
COMMANDS = {
    "predict": ("predict", "a.tif", "-o", "out"),
    "evaluate": ("evaluate", "--images", "a", "--labels", "b"),
    "slides": ("slides", "predict", "a.tif", "-o", "out"),
    "video": ("video", "predict", "a.mp4", "-o", "out"),
    "serve": ("serve",),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
def test_an_unknown_runtime_is_refused_before_the_work(medseg: Call, words: tuple[str, ...]) -> None:
    code, _, err = medseg(*words, "--runtime", "tensorrt")
    assert code != 0
    assert "tensorrt" in err
    assert "openvino" in err


def test_the_option_wins_over_the_preferences_and_reaches_predictor_and_workers(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_medseg.workflow.cluster.warm_models import load_requested_predictor

    models = ModelRegistry(registry, registry / "none")
    write_preferences(models, Preferences(runtime="torch"))
    assert (choose_wish(models, None), choose_wish(models, "auto")) == ("torch", "auto")
    monkeypatch.setenv(MEASURE_VARIABLE, "1")
    card = models.get_live_card("lungs")
    for runtime, expected in ((None, "torch"), ("auto", "auto")):
        tuner = load_predictor(models, card.id, "cpu", runtime).tuner
        assert tuner is not None
        assert tuner.settings.wish == expected
        requested = make_model_request(models, card, "cpu", choose_wish(models, runtime))
        tuner = load_requested_predictor(requested, "cpu").tuner
        assert tuner is not None
        assert tuner.settings.wish == expected
    with pytest.raises(MedSegError, match="a server chooses its own"):
        load_predictor(models, card.id, "wss://gpu.example.org:8723", "torch")


def test_evaluation_on_workers_asks_for_the_same(registry: Path) -> None:
    from napari_medseg.cli.cluster.evaluate import _request_model

    models = ModelRegistry(registry, registry / "none")
    scored = Scored(models, None, models.get_live_card("lungs"), None, "cpu", None, "torch")  # type: ignore[arg-type]
    requested = _request_model(scored)
    assert requested is not None
    assert requested.runtime == "torch"


@pytest.mark.skipif(not has_openvino(), reason="the extra `openvino` is not installed")
def test_predictions_name_the_runtime(medseg: Call, registry: Path, tmp_path: Path) -> None:
    pixels = np.tile(phantom(1).pixels, (3, 3))[:192, :160]
    formats.write_image(tmp_path / "a.tif", Image(pixels, "YX"))
    words = ("predict", tmp_path / "a.tif", "--registry", registry, "--device", "cpu", "--force", "--json")
    for runtime, device in (("torch", "CPU"), ("openvino", "CPU (OpenVINO)")):
        code, out, err = medseg(*words, "-o", tmp_path / runtime, "--runtime", runtime)
        assert code == 0, err
        assert json.loads(out)["files"][0]["device"] == device
        (line,) = (tmp_path / runtime / "predictions.jsonl").read_text("utf-8").splitlines()
        assert json.loads(line)["device"] == device


def test_what_a_gpu_writes_beside_the_next_image_is_the_same(
    medseg: Call, registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        formats.write_image(tmp_path / "in" / f"{number}.tif", phantom(number))
    (tmp_path / "in" / "1b.png").write_bytes(b"\x89PNG but torn")
    words = ("predict", tmp_path / "in", "--registry", registry, "--device", "cpu", "--json")
    answers = []
    for overlaps in (False, True):
        monkeypatch.setattr(command, "_has_gpu", lambda _, overlaps=overlaps: overlaps)
        code, out, _ = medseg(*words, "-o", tmp_path / str(overlaps))
        assert code == 1, "the torn file"
        answers.append(json.loads(out))
    for one, other in zip(*(answer["files"] for answer in answers), strict=True):
        np.testing.assert_array_equal(
            formats.read(Path(one["labels"])).pixels, formats.read(Path(other["labels"])).pixels
        )
        assert {**one, "labels": "", "seconds": 0} == {**other, "labels": "", "seconds": 0}
    assert len(answers[0]["files"]) == 3
    assert answers[0]["errors"] == answers[1]["errors"]
