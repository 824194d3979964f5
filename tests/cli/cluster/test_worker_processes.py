"""`medseg predict --workers 2` as a person starts it: processes of its own, the bundled model, and a second start."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from workflow_phantoms import phantom

from napari_medseg.core import formats

N_IMAGES = 3


def start(images: Path, out: Path, *options: str) -> "subprocess.CompletedProcess[str]":
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


def test_two_workers_label_images_and_a_second_start_keeps_them(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    for number in range(N_IMAGES):
        formats.write_image(images / f"i{number}.tif", phantom(number))
    first = start(images, out, "--workers", "2", "--memory", "4GB")
    assert first.returncode == 0, first.stderr
    rows = read_rows(out)
    assert [row["state"] for row in rows] == ["done"] * N_IMAGES
    assert all(row["runtime"].startswith("torch ") for row in rows)
    labels = [formats.read(out / row["labels_file"]).pixels for row in rows]
    assert all(set(np.unique(one)) == {0, 1, 2} for one in labels)

    (out / rows[1]["labels_file"]).unlink()  # as if the first start had been stopped
    again = start(images, out, "--workers", "1")
    assert again.returncode == 0, again.stderr
    assert "2 of 3 cases were done before and are kept" in again.stderr
    new = read_rows(out)
    assert [row["worker"] == before["worker"] for row, before in zip(new, rows, strict=True)] == [True, False, True]
    np.testing.assert_array_equal(formats.read(out / new[1]["labels_file"]).pixels, labels[1])
