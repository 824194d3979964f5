"""Fields: their paths, their images, and what is refused."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from slide_phantoms import HEIGHT, MPP, WIDTH, make_picture, write_ome_zarr, write_pyramid

from napari_medseg.core import formats
from napari_medseg.core.containers.part_paths import exists, find_inner_path, get_whole_path
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.fields import Field, find_slide_group, parse_field_path, snap_field
from napari_medseg.core.slides.open_slide import open_slide


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pyramid(tmp_path_factory.mktemp("slides") / "TCGA-01 b.svs", make_picture(), 2, 4)


@pytest.mark.parametrize("name", ["a.svs", "my slide_level.ome.tif", "b.ome.zarr", "ä_x1_y2.NDPI", "a.b.c.mrxs"])
def test_the_path_of_a_field_says_all_of_it(name: str) -> None:
    for slide in (Path("/data", name), Path("https://host/data", name)):
        field = Field(slide, 2, 2048, 10240, 512, 1000)
        assert field.path.name.endswith(f"_level2_x10240_y2048_1000x512{slide.suffix}")
        assert parse_field_path(field.path) == field
        assert get_whole_path(field.path) == slide


@pytest.mark.parametrize(
    "path",
    [
        "/d/a.svs",
        "/d/a.svs/b_level0_x0_y0_9x9.svs",
        "/d/a.svs/a_level0_x0_y0_9x9.tif",
        "/d/a.svs/a_level0_x0_y0_0x9.svs",
    ],
)
def test_other_paths_are_no_fields(path: str) -> None:
    assert parse_field_path(Path(path)) is None


def test_a_field_is_an_image_with_the_spacing_of_its_level_and_its_slide_as_group(slide_path: Path) -> None:
    field = Field(slide_path, 1, 600, 800, 200, 300)
    image = formats.read(field.path)
    assert np.array_equal(image.pixels, make_picture()[600:1000:2, 800:1400:2])
    assert (image.axes, image.units) == ("YXC", "rgb")
    assert image.spacing_mm == pytest.approx((MPP / 500, MPP / 500))
    assert image.group == "TCGA-01 b"
    assert image.sources == (field.path,)
    assert formats.read(field.path).content_hash == image.content_hash
    neighbour = formats.read(replace(field, x=820).path)
    assert (neighbour.group, neighbour.content_hash == image.content_hash) == (image.group, False)


def test_fields_of_one_slide_are_of_one_group_and_slides_of_one_year_are_not() -> None:
    slides = [Path(f"/data/2021_{number:04}.{suffix}") for number in (1, 2) for suffix in ("svs", "ndpi", "ome.zarr")]
    assert [find_slide_group(path) for path in slides] == ["2021_0001"] * 3 + ["2021_0002"] * 3
    assert find_slide_group(Path("/d/TCGA-55-1594-01Z-00-DX1.svs")) == find_slide_group(
        Path("/e/TCGA-55-1594-01Z-00-DX2.svs")
    )


def test_a_store_counts_as_a_file(tmp_path: Path) -> None:
    store = tmp_path / "a.ome.zarr"
    write_ome_zarr(str(store), make_picture(), 2, version="0.5")
    field = Field(store, 0, 10, 20, 64, 80)
    assert find_inner_path(field.path) == (store, Path(field.path.name))
    assert exists(field.path)
    assert np.array_equal(formats.read(field.path).pixels, make_picture()[10:74, 20:100])
    shutil.move(store, tmp_path / "moved.zarr")
    assert not exists(field.path)


def test_a_field_of_an_address_is_read_from_it() -> None:
    write_ome_zarr(zarr.storage.FsspecStore.from_url("memory://fields/a.zarr"), make_picture(), 2)
    field = Field(Path("memory://fields/a.zarr"), 0, 10, 20, 64, 80)
    path = Path("/some/folder") / field.path  # as a program that makes paths absolute
    assert exists(path)
    assert np.array_equal(formats.read(path).pixels, make_picture()[10:74, 20:100])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": 7}, "has no level 7; it has 3"),
        ({"x": 90_000}, "lies outside"),
        ({"height": 9000, "width": 9000}, "too large to be corrected"),
        ({"slide": Path("/nowhere/a.svs")}, "nowhere"),
    ],
)
def test_a_field_that_cannot_be_read_says_why(slide_path: Path, change: dict[str, object], message: str) -> None:
    field = replace(Field(slide_path, 0, 0, 0, 64, 64), **change)  # type: ignore[arg-type]
    with pytest.raises(MedSegError, match=message):
        formats.read(field.path)


def test_a_rectangle_becomes_the_field_that_its_level_can_show(slide_path: Path) -> None:
    slide = open_slide(slide_path)
    assert snap_field(slide_path, slide.levels, 0, (99.6, 200.2, 300.4, 500.9)) == Field(
        slide_path, 0, 100, 200, 200, 301
    )
    assert snap_field(slide_path, slide.levels, 2, (101, 199, 301, 501)) == Field(slide_path, 2, 100, 200, 50, 75)
    assert snap_field(slide_path, slide.levels, 0, (-50, -50, 40, 60)) == Field(slide_path, 0, 0, 0, 40, 60)
    everything = snap_field(slide_path, slide.levels, 2, (-1e6, -1e6, 1e6, 1e6))
    assert (everything.height, everything.width) == (HEIGHT // 4, 513)
    for box in ((WIDTH * 2, 0, WIDTH * 3, 50), (10, 10, 10.2, 10.3)):
        with pytest.raises(MedSegError, match="outside the slide, or is thinner"):
            snap_field(slide_path, slide.levels, 0, box)
    slide.close()
