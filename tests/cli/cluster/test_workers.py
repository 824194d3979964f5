"""`--workers` and `--scheduler`: the files and rows of one process, and clear words where Dask cannot help."""

import csv
import importlib.util
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from dicom_files import write_series
from workflow_phantoms import phantom, phantom_labels

from napari_medseg.core import formats
from napari_medseg.workflow.cluster.connection import ClusterChoice, open_cluster

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers, opened as --workers does; they import torch only once."""
    with open_cluster(ClusterChoice(n_workers=2)) as cluster:
        yield cluster.address


def write_cohort(folder: Path) -> Path:
    """Two images of one name, a DICOM series, an archive, an array, a torn file, and a list that names all."""
    for number, place in enumerate(("a/slice.tif", "b/slice.tif", "zipped/c.tif")):
        formats.write_image(folder / place, phantom(number))
    volume = np.repeat(phantom(3).pixels[np.newaxis].astype(np.int16), 3, axis=0)
    write_series(folder / "dicom", volume, PatientID="P1", RescaleIntercept=0)
    (folder / "torn.png").write_bytes(b"\x89PNG torn")
    np.savez(folder / "arrays.npz", image=phantom(4).pixels)
    with zipfile.ZipFile(folder / "d.zip", "w") as archive:
        archive.write(folder / "zipped" / "c.tif", "c.tif")
    names = ["a", "b", "torn.png", "dicom", "d.zip", "arrays.npz", "nowhere"]
    listed = folder / "cohort.csv"
    listed.write_text("path,site\n" + "".join(f"{name},1\n" for name in names), encoding="utf-8")
    return listed


def read_labels(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*_labels*")}


def without_seconds(answer: dict, folder: Path) -> str:
    for entry in answer["files"]:
        del entry["seconds"]
    return json.dumps(answer, sort_keys=True).replace(str(folder), "OUT")


def test_workers_write_the_files_and_rows_of_one_process(
    medseg: Call, registry: Path, tmp_path: Path, scheduler: str
) -> None:
    cohort = write_cohort(tmp_path / "in")
    call = ("predict", cohort, "--registry", registry, "--device", "cpu", "--format", ".nii.gz", "--json")
    one, two = tmp_path / "one", tmp_path / "two"
    code_one, out_one, _ = medseg(*call, "-o", one)
    code_two, out_two, err = medseg(*call, "-o", two, "--scheduler", scheduler)
    assert (code_one, code_two) == (1, 1), err
    assert len(read_labels(one)) == 5
    assert read_labels(two) == read_labels(one)
    assert without_seconds(json.loads(out_two), two) == without_seconds(json.loads(out_one), one)
    assert (two / "predictions.jsonl").read_bytes() == (one / "predictions.jsonl").read_bytes()


def test_scores_on_workers_are_those_of_one_process(
    medseg: Call, registry: Path, tmp_path: Path, scheduler: str
) -> None:
    for number in range(4):
        image = phantom(number)
        formats.write_image(tmp_path / "images" / f"p{number // 2}_{number}.tif", image)
        formats.write_labels(tmp_path / "labels" / f"p{number // 2}_{number}.tif", phantom_labels(), image)
    call = ("evaluate", "--images", tmp_path / "images", "--labels", tmp_path / "labels", "--group", "{patient}_*")
    call += ("--registry", registry, "--device", "cpu")
    one, two = tmp_path / "one", tmp_path / "two"
    assert medseg(*call, "-o", one)[0] == 0
    code, _, err = medseg(*call, "-o", two, "--scheduler", scheduler)
    assert code == 0, err
    rows = []
    for folder in (one, two):
        with (folder / "evaluation.csv").open(newline="", encoding="utf-8") as file:
            rows.append(
                [{name: text for name, text in row.items() if name != "seconds"} for row in csv.DictReader(file)]
            )
    assert rows[0] == rows[1]
    with (two / "manifest.csv").open(newline="", encoding="utf-8") as file:
        assert {row["runtime"].partition(" ")[0] for row in csv.DictReader(file)} == {"torch"}
    assert (one / "evaluation.html").read_text().count("<img") == (two / "evaluation.html").read_text().count("<img")
    assert "several workers need a folder" in medseg(*call, "--workers", 2)[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memory", "4GB"), "Add --workers or --scheduler"),
        (("--workers", "2", "--scheduler", "tcp://a:1"), "not both"),
        (("--scheduler", "tcp://a:1", "--memory", "4GB"), "dask worker --memory-limit"),
        (("--workers", "2", "--memory", "100MB"), "each of 2 workers would have 100 MB"),
        (("--scheduler", "a:1"), "no address of a scheduler"),
        (("--scheduler", "tcp://a:1", "--tls-ca", "ca.pem"), "begins with tls://"),
        (("--scheduler", "tls://a:1", "--tls-ca", "ca.pem"), "Give all three"),
    ],
)
def test_options_that_contradict_each_other_are_named(
    medseg: Call, registry: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    code, _, err = medseg("predict", tmp_path, "-o", tmp_path / "out", "--registry", registry, *options)
    assert code == 1
    assert said in err


def test_a_missing_extra_is_named(medseg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    code, _, err = medseg("predict", tmp_path, "-o", tmp_path / "out", "--workers", 2)
    assert code == 1
    assert 'pip install "napari-medseg[cluster]"' in err


def test_a_scheduler_that_does_not_answer_is_named(
    medseg: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_medseg.workflow.cluster.connection.CONNECT_S", 0.5)
    code, _, err = medseg("predict", tmp_path, "-o", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1")
    assert code == 1
    assert "the scheduler tcp://127.0.0.1:1 cannot be reached" in err
