"""A batch of files and folders: one that cannot be read never costs another."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.formats.batch_reading import ReadFailure, read_images
from napari_medseg.core.image import Image


def write_picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(np.random.default_rng(0).integers(0, 255, (5, 6)).astype(np.uint8)).save(path)
    return path


def read(*paths: Path) -> tuple[list[str], list[str]]:
    items = list(read_images(paths))
    refused = [item.text for item in items if isinstance(item, ReadFailure)]
    return [item.name for item in items if isinstance(item, Image)], refused


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_a_dangling_link_costs_no_other_image(tmp_path: Path, where: str) -> None:
    good = write_picture(tmp_path / "good.png")
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "gone.png")
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    names, refused = read(link, good, loop) if where == "beside" else read(tmp_path)
    assert names == ["good"]
    assert len(refused) == 2
    assert any("link.png does not exist" in text for text in refused)


def test_a_missing_path_and_a_name_that_is_too_long_cost_no_other_image(tmp_path: Path) -> None:
    good = write_picture(tmp_path / "good.png")
    names, refused = read(tmp_path / "gone", tmp_path / ("x" * 300), good, tmp_path / "gone" / "a.dcm")
    assert names == ["good"]
    assert len(refused) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_without_permission_is_told(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png")
    (tmp_path / "closed").mkdir(mode=0)
    names, refused = read(tmp_path)
    assert names == ["good"]
    assert "closed cannot be listed" in refused[0]


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    write_picture(tmp_path / "good.png")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.dcm")
    assert read(tmp_path) == (["good"], [])


def test_a_folder_with_too_many_files_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_medseg.core.formats.discovery.MAX_FILES", 2)
    for n in range(3):
        write_picture(tmp_path / "many" / f"{n}.png")
    names, refused = read(tmp_path / "many", write_picture(tmp_path / "good.png"))
    assert names == ["good"]
    assert "holds more than 2 files. Choose a smaller folder" in refused[0]


def test_an_empty_folder_beside_others_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    names, refused = read(tmp_path / "empty", write_picture(tmp_path / "good.png"))
    assert names == ["good"]
    assert "the folder empty holds no image" in refused[0]


@pytest.mark.parametrize("marker", [".zarray", ".zgroup", "zarr.json", None])
def test_chunk_stores_of_other_programs_are_left_alone(tmp_path: Path, marker: str | None) -> None:
    store = tmp_path / "data" / ("store" if marker else "store.zarr")
    write_picture(store / "0" / "0.png")
    if marker:
        (store / marker).write_text("{}")
    assert not formats.can_read(store)
    assert not formats.can_read(tmp_path / "data")
    assert formats.find_images(tmp_path) == []
    write_picture(tmp_path / "data" / "good.png")
    assert formats.can_read(tmp_path / "data")
    assert read(tmp_path / "data") == (["good"], [])


def test_a_folder_of_labels_or_tables_holds_no_image(tmp_path: Path) -> None:
    write_picture(tmp_path / "labels" / "a.png")
    (tmp_path / "table.csv").write_text("a,b")
    assert not formats.can_read(tmp_path)
    assert formats.can_read(tmp_path / "labels"), "a folder that the user names is searched"
