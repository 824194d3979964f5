"""`medseg predict --workers 2` as a person starts it: processes of its own, the bundled model, and a second start."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from workflow_phantoms import phantom

from napari_medseg.core import formats

N_IMAGES = 3
Call = Callable[..., tuple[int, str, str]]


def start_process(images: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "napari_medseg", "predict", str(images), "-o", str(out), "--force"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [*words, "--device", "cpu", *options],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def read_rows(out: Path) -> list[dict[str, str]]:
    with (out / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_two_workers_label_images_and_a_second_start_keeps_them(medseg: Call, tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for number in range(N_IMAGES):
        formats.write_image(images / f"i{number}.tif", phantom(number))
    first = start_process(images, out, "--workers", "2", "--memory", "4GB")
    assert first.returncode == 0, first.stderr
    rows = read_rows(out)
    assert [row["state"] for row in rows] == ["done"] * N_IMAGES
    assert all(row["runtime"].startswith("torch ") for row in rows)
    labels = [formats.read(out / row["labels_file"]).pixels for row in rows]
    assert all(set(np.unique(one)) == {0, 1, 2} for one in labels)

    written = {path.name: path.stat().st_mtime_ns for path in out.glob("*_labels.tif")}
    code, _, err = medseg("predict", images, "-o", out, "--device", "cpu", "--force", "--workers", 1)
    assert code == 0, err
    assert "3 of 3 cases were done before and are kept" in err
    assert read_rows(out) == rows
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("*_labels.tif")} == written
