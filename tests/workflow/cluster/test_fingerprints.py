"""What of a case is kept by a second start: all that its result depends on decides."""

from pathlib import Path

import numpy as np
import pytest
from cluster_phantoms import CALM, make_job, write_images

from napari_medseg.workflow.cluster import evaluation_run, prediction_run
from napari_medseg.workflow.cluster.connection import Cluster
from napari_medseg.workflow.cluster.evaluation_run import EvaluationJob, begin_evaluation
from napari_medseg.workflow.cluster.evaluation_task import EvaluationChoices
from napari_medseg.workflow.cluster.prediction_run import begin_predictions
from training.data.labelled_cases import LabelledCase

NAMES = ("a", "b")
NO_CLUSTER: Cluster = None  # type: ignore[assignment]  # no case is run


def make_evaluation(folder: Path) -> EvaluationJob:
    cases = [LabelledCase(name, folder / f"{name}.tif", folder / "labels" / f"{name}.tif") for name in NAMES]
    choices = EvaluationChoices("", "lungs", (), False, None, None, False, str(folder / "scored"), None, "00")
    return EvaluationJob(cases, folder / "out", choices, None)


def stamp_evaluation(folder: Path) -> list[str]:
    with begin_evaluation(NO_CLUSTER, make_evaluation(folder)) as run:
        return [request.fingerprint for request in run.requests]


def test_labels_that_are_changed_in_place_are_scored_again_and_no_others(tmp_path: Path) -> None:
    scored = tmp_path / "scored"
    scored.mkdir()
    for name in NAMES:
        np.save(scored / f"{name}_labels.npy", np.zeros(4))
    before, folder_time = stamp_evaluation(tmp_path), scored.stat().st_mtime_ns
    np.save(scored / "a_labels.npy", np.ones(5))  # as nibabel and SimpleITK do: the folder does not change
    assert scored.stat().st_mtime_ns == folder_time
    after = stamp_evaluation(tmp_path)
    assert (after[0] == before[0], after[1] == before[1]) == (False, True)
    (scored / "another.npy").write_bytes(b"")
    assert stamp_evaluation(tmp_path) == after


def test_files_of_labels_reach_the_worker_with_their_names(tmp_path: Path) -> None:
    parts = tuple((label, tmp_path / f"{label}.tif") for label in ("left", "right"))
    choices = EvaluationChoices("", "lungs", (), False, None, None, False, "", None, "00")

    def stamp(names: tuple[str, str]) -> str:
        chosen = tuple((name, path) for name, (_, path) in zip(names, parts, strict=True))
        case = LabelledCase("a", tmp_path / "a.tif", tmp_path, parts=chosen)
        with begin_evaluation(NO_CLUSTER, EvaluationJob([case], tmp_path / "out", choices, None)) as run:
            (request,) = run.requests
        assert request.options["parts"] == [[name, str(path)] for name, path in chosen]
        return request.fingerprint

    assert stamp(("left", "right")) != stamp(("right", "left"))


@pytest.mark.parametrize("of", ["evaluation", "prediction"])
def test_another_version_of_the_program_repeats_a_case(
    of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scored").mkdir()
    images = write_images(tmp_path / "in", CALM)

    def stamp() -> list[str]:
        if of == "evaluation":
            return stamp_evaluation(tmp_path)
        with begin_predictions(NO_CLUSTER, make_job(images, tmp_path / "out")) as run:
            return [request.fingerprint for request in run.requests]

    before = stamp()
    assert stamp() == before
    for module in (evaluation_run, prediction_run):
        monkeypatch.setattr(module, "get_program_version", lambda: "99.0")
    assert stamp() != before
