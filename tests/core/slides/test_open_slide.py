"""Slides of every kind: levels, resolution and pixels; what is no slide; what is damaged or missing."""

import json
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from slide_phantoms import HEIGHT, MPP, WIDTH, make_picture, reduce_picture, write_ome_zarr, write_pyramid

from napari_medseg.core import formats
from napari_medseg.core.decoded_size.limit import allow_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides import open_slide as slides
from napari_medseg.core.slides.open_slide import is_slide, open_slide
from napari_medseg.core.slides.slide import DamagedPartError, choose_level, compute_spacing, make_levels

PIECES = (
    (0, 0, 100, 120),
    (250, 1000, 300, 520),
    (-20, -30, 90, 90),
    (HEIGHT - 10, WIDTH - 15, 40, 50),
    (9000, 0, 5, 7),
)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return make_picture()


def cut(picture: NDArray[np.uint8], y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
    """Cut a piece of a picture that lies on white."""
    wide = np.full((height, width, 3), 255, np.uint8)
    rows = [n for n in range(y, y + height) if 0 <= n < picture.shape[0]]
    columns = [n for n in range(x, x + width) if 0 <= n < picture.shape[1]]
    if rows and columns:
        inner = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        wide[rows[0] - y : rows[-1] + 1 - y, columns[0] - x : columns[-1] + 1 - x] = inner
    return wide


def write_slide(folder: Path, name: str, picture: NDArray[np.uint8]) -> Path:
    path = folder / name
    if name.endswith(".zarr"):
        options: dict[str, Any] = {
            "a.ome.zarr": {"version": "0.4"},
            "b.ome.zarr": {"version": "0.5"},
            "c.zarr": {"version": "0.5", "axes": "yxc"},
        }[name]
        write_ome_zarr(str(path), picture, 2, 4, **options)
    elif name == "separate.tif":
        planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
        with tifffile.TiffWriter(path, bigtiff=True) as tiff:
            options = {"tile": (256, 256), "photometric": "rgb", "planarconfig": "separate"}
            resolution = {"resolution": (10_000 / MPP,) * 2, "resolutionunit": "CENTIMETER"}
            tiff.write(planes, subifds=2, **options, **resolution)
            for factor in (2, 4):
                small = np.ascontiguousarray(reduce_picture(picture, factor).transpose(2, 0, 1))
                tiff.write(small, subfiletype=1, **options)
    elif name == "pages.tif":  # as libvips writes pyramids: pages in a row
        with tifffile.TiffWriter(path, bigtiff=True) as tiff:
            for factor in (1, 2, 4):
                tiff.write(
                    reduce_picture(picture, factor),
                    tile=(256, 256),
                    photometric="rgb",
                    metadata=None,
                    subfiletype=int(factor > 1),
                    resolution=(10_000 / MPP / factor,) * 2,
                    resolutionunit="CENTIMETER",
                )
    else:
        write_pyramid(path, picture, 2, 4)
    return path


@pytest.mark.parametrize(
    "name",
    ["a.tif", "a.ome.tif", "a.svs", "a.btf", "separate.tif", "pages.tif", "a.ome.zarr", "b.ome.zarr", "c.zarr"],
)
def test_slides_of_every_kind_give_their_levels_resolution_and_pixels(
    tmp_path: Path, picture: NDArray[np.uint8], name: str
) -> None:
    path = write_slide(tmp_path, name, picture)
    assert is_slide(path)
    slide = open_slide(path)
    assert [(level.height, level.width, level.downsample) for level in slide.levels] == [
        (HEIGHT, WIDTH, 1.0),
        (HEIGHT // 2, WIDTH // 2, 2.0),
        (HEIGHT // 4, 513, 4.0),  # a quarter of 2,050 is 512.5
    ]
    assert slide.spacing_mm == pytest.approx((MPP / 1000, MPP / 1000))
    assert compute_spacing(slide, 2) == pytest.approx((MPP / 250, MPP / 250))
    for y, x, height, width in PIECES:
        assert np.array_equal(slide.read(0, y, x, height, width), cut(picture, y, x, height, width))
    small = reduce_picture(picture, 4)
    assert np.array_equal(slide.read(2, 100, 450, 120, 100), cut(small, 100, 450, 120, 100))
    slide.close()


@pytest.mark.parametrize("compression", ["jpeg", "lzw", None])
def test_an_aperio_slide_has_the_pixels_that_openslide_reads(
    tmp_path: Path, picture: NDArray[np.uint8], compression: str | None
) -> None:
    openslide = pytest.importorskip("openslide")
    options = {"compressionargs": {"level": 90}} if compression == "jpeg" else {}
    whole = np.ascontiguousarray(picture[:, :2048])  # else OpenSlide interpolates between pixels of level 1
    path = write_pyramid(tmp_path / "a.svs", whole, 4, compression=compression, **options)
    theirs, ours = openslide.OpenSlide(path), open_slide(path)
    assert theirs.properties["openslide.vendor"] == "aperio"
    assert ours.spacing_mm == pytest.approx([float(theirs.properties[f"openslide.mpp-{axis}"]) / 1000 for axis in "yx"])
    assert [(level.width, level.height) for level in ours.levels] == list(theirs.level_dimensions)
    for level, y, x in ((0, 500, 700), (1, 60, 90)):
        place = (round(x * ours.levels[level].downsample), round(y * ours.levels[level].downsample))
        region = np.asarray(theirs.read_region(place, level, (300, 200)))[..., :3].astype(int)
        difference = np.abs(region - ours.read(level, y, x, 200, 300))
        if compression == "jpeg":  # decoders interpolate colours differently
            assert difference.mean() < 0.6
        else:
            assert not difference.any()
    ours.close()


def test_openslide_reads_what_only_it_knows(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    """Its reader is tried on a file that both read, because no file of a scanner is made here."""
    pytest.importorskip("openslide")
    from napari_medseg.core.slides.openslide_slide import OpenSlideSlide

    path = write_pyramid(tmp_path / "a.svs", picture, 2, 4)
    slide, ours = OpenSlideSlide(path), open_slide(path)
    assert (slide.levels, slide.spacing_mm) == (ours.levels, pytest.approx(ours.spacing_mm))
    for y, x, height, width in PIECES:
        assert np.array_equal(slide.read(0, y, x, height, width), cut(picture, y, x, height, width))
    assert np.array_equal(slide.read(1, 30, 40, 50, 60), ours.read(1, 30, 40, 50, 60))


@pytest.mark.parametrize("kind", ["grey", "palette", "16 bits", "alpha", "white is zero"])
def test_tiles_of_other_colours_become_rgb(tmp_path: Path, picture: NDArray[np.uint8], kind: str) -> None:
    grey = np.ascontiguousarray(picture[..., 1])
    expected = np.repeat(grey[..., None], 3, axis=-1)
    options: dict[str, Any] = {"photometric": "minisblack"}
    values: NDArray[Any] = grey
    if kind == "palette":
        colours = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
        options, expected = {"photometric": "palette", "colormap": colours * 257}, colours.T[grey].astype(np.uint8)
    elif kind == "16 bits":
        options, values, expected = {"photometric": "rgb"}, picture.astype(np.uint16) * 257, picture
    elif kind == "alpha":
        values, expected = np.dstack([picture, np.full_like(grey, 255)]), picture
        options = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    elif kind == "white is zero":
        options, values = {"photometric": "miniswhite"}, 255 - grey
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(values, tile=(256, 256), metadata=None, subifds=1, **options)
        tiff.write(np.ascontiguousarray(values[::2, ::2]), tile=(256, 256), metadata=None, subfiletype=1, **options)
    slide = open_slide(path)
    assert len(slide.levels) == 2
    assert np.array_equal(slide.read(0, 200, 300, 120, 90), expected[200:320, 300:390])
    slide.close()


def test_an_ordinary_tiff_is_no_slide(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", picture, photometric="rgb")
    tifffile.imwrite(tmp_path / "tiled.tif", picture, photometric="rgb", tile=(256, 256))
    write_pyramid(tmp_path / "small.tif", picture[:600, :700], 2)
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((5, 64, 64), np.uint8))
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.svs").write_text("no slide")
    (tmp_path / "folder.tif").mkdir()
    zarr.open_group(str(tmp_path / "other.zarr"), mode="w").create_array("0", shape=(9, 9), chunks=(3, 3), dtype="u1")
    for path in (*sorted(tmp_path.iterdir()), tmp_path / "missing.svs", tmp_path / "missing.zarr"):
        assert not is_slide(path), path.name


def test_tiles_that_were_left_out_are_white(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = write_pyramid(tmp_path / "a.tif", picture, 2)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
        counts = list(tag.value)
        counts[0] = 0
        tag.overwrite(counts)
    slide = open_slide(path)
    piece = slide.read(0, 0, 0, 300, 300)
    assert (piece[:256, :256] == 255).all()
    assert np.array_equal(piece[256:], picture[256:300, :300])
    slide.close()


def test_a_damaged_tile_is_reported_with_its_place_and_the_others_are_read(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    path = write_pyramid(tmp_path / "a.tif", picture, 2)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[10]  # 9 tiles in a row: the second of the second row
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\0" * 64)
    slide = open_slide(path)
    with pytest.raises(DamagedPartError, match=r"a.tif is damaged at level 0, x 256 to 512, y 256 to 512") as raised:
        slide.read(0, 100, 100, 400, 400)
    assert (raised.value.y, raised.value.x) == (256, 256)
    assert np.array_equal(slide.read(0, 600, 600, 50, 50), picture[600:650, 600:650])
    slide.close()


def test_a_damaged_chunk_of_zarr_is_reported_with_its_place(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    write_ome_zarr(str(tmp_path / "a.zarr"), picture, 2, version="0.5", axes="yxc")
    (tmp_path / "a.zarr/0/c/1/2/0").write_bytes(b"damaged")
    slide = open_slide(tmp_path / "a.zarr")
    with pytest.raises(DamagedPartError, match=r"a.zarr is damaged at level 0, x 512 to 768, y 256 to 512"):
        slide.read(0, 0, 0, 700, 900)
    assert np.array_equal(slide.read(0, 0, 0, 200, 900), picture[:200, :900])


def test_a_truncated_slide_reads_what_is_there(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    path = write_pyramid(tmp_path / "a.tif", picture, 2, compression=None)
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages.first.dataoffsets[0], tiff.pages.first.dataoffsets[-1]
    assert first < last
    slide = open_slide(path)
    with path.open("r+b") as file:
        file.truncate(last + 100)
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, 0, 0, 50, 50), picture[:50, :50])
    with pytest.raises(DamagedPartError, match="ends beyond the file"):
        slide.read(0, HEIGHT - 10, WIDTH - 10, 10, 10)
    slide.close()


def test_a_file_that_openslide_lost_is_told_at_each_read_until_it_is_back(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    """As on a drive that was unplugged: after an error OpenSlide closes, and an error of its own ended the threads."""
    pytest.importorskip("openslide")
    from napari_medseg.core.slides.openslide_slide import OpenSlideSlide

    path = write_pyramid(tmp_path / "a.svs", picture, 2)
    slide = OpenSlideSlide(path)
    slide.close()
    path.rename(tmp_path / "elsewhere.svs")
    for _ in range(2):
        with pytest.raises(DamagedPartError, match=r"a\.svs is damaged at level 0, x 0 to 50"):
            slide.read(0, 0, 0, 50, 50)
    (tmp_path / "elsewhere.svs").rename(path)
    with pytest.raises(DamagedPartError):
        slide.read(0, 0, 0, 50, 50)
    assert np.array_equal(slide.read(0, 0, 0, 50, 50), picture[:50, :50])
    slide.close()
    slide.close()


def test_a_network_that_fails_is_told_as_any_damage(
    tmp_path: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiohttp has exceptions of its own; one of them ended the threads that read, and the slide stayed grey."""

    class ServerDisconnected(Exception):
        pass

    def fail(*_: object) -> None:
        raise ServerDisconnected("the server disconnected")

    write_ome_zarr(str(tmp_path / "a.zarr"), picture, 2, axes="yxc")
    slide = open_slide(tmp_path / "a.zarr")
    monkeypatch.setattr(zarr.Array, "__getitem__", fail)
    with pytest.raises(DamagedPartError, match="the server disconnected"):
        slide.read(0, 0, 0, 50, 50)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_opens_by_its_address(picture: NDArray[np.uint8], version: str) -> None:
    pytest.importorskip("fsspec")
    address = f"memory://slides/{version}/a.zarr"
    write_ome_zarr(zarr.storage.FsspecStore.from_url(address), picture, 2, version=version)
    path = Path(address)
    assert is_slide(path)
    slide = open_slide(path)
    assert np.array_equal(slide.read(0, 400, 500, 60, 70), picture[400:460, 500:570])
    assert slide.spacing_mm == pytest.approx((MPP / 1000, MPP / 1000))


def test_ome_zarr_opens_from_a_server(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    pytest.importorskip("aiohttp")
    write_ome_zarr(str(tmp_path / "a.ome.zarr"), picture, 2, version="0.5")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        path = Path(f"http://127.0.0.1:{server.server_port}/a.ome.zarr")
        slide = open_slide(path)
        assert np.array_equal(slide.read(1, 100, 200, 60, 70), picture[200:320:2, 400:540:2])
        image = formats.read(path / "a.ome_level0_x500_y400_70x60.zarr")
        assert np.array_equal(image.pixels, picture[400:460, 500:570])
        with pytest.raises(MedSegError, match="holds no OME-Zarr"):
            open_slide(path.with_name("missing.zarr"))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nowhere/a.zarr", "holds no OME-Zarr"),
        ("https://localhost:9/a.zarr", "https://localhost:9/a.zarr cannot be opened as OME-Zarr.*the connection"),
        ("https://localhost:9/a.svs", "is no address of OME-Zarr"),
    ],
)
def test_an_address_that_holds_no_slide_is_refused_with_what_to_do(address: str, message: str) -> None:
    with pytest.raises(MedSegError, match=message):
        open_slide(Path(address))


def write_store(path: Path, attributes: dict[str, Any], **array: Any) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=2)
    group.create_array("0", **{"shape": (1200, 1200), "chunks": (256, 256), "dtype": "u1"} | array)
    group.attrs.update(attributes)


ENTRY: dict[str, Any] = {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}


@pytest.mark.parametrize(
    ("attributes", "array", "message"),
    [
        ({}, {}, "no pyramid"),
        ({"plate": {}}, {}, "plate"),
        ({"multiscales": [ENTRY]}, {"dtype": "f4"}, "type float32"),
        ({"multiscales": [ENTRY]}, {"shape": (2, 1200, 1200), "chunks": (1, 256, 256)}, "2 axes, but its size"),
        ({"multiscales": [ENTRY | {"datasets": [{"path": "../other"}]}]}, {}, "outside of its folder"),
        ({"multiscales": [ENTRY | {"datasets": [{"path": "7"}]}]}, {}, "level '7' cannot be read"),
        ({"multiscales": [ENTRY | {"axes": [{"name": "q"}, {"name": "x"}]}]}, {}, "axes q, x"),
        (
            {"multiscales": [ENTRY | {"axes": [{"name": "z"}, {"name": "y"}, {"name": "x"}]}]},
            {"shape": (9, 1200, 1200), "chunks": (1, 256, 256)},
            "stack of planes",
        ),
        (
            {"multiscales": [ENTRY | {"axes": [{"name": "c"}, {"name": "y"}, {"name": "x"}]}]},
            {"shape": (5, 1200, 1200), "chunks": (1, 256, 256)},
            "5 channels",
        ),
    ],
)
def test_a_store_that_is_no_slide_says_what_it_is(
    tmp_path: Path, attributes: dict[str, Any], array: dict[str, Any], message: str
) -> None:
    write_store(tmp_path / "a.zarr", attributes, **array)
    with pytest.raises(MedSegError, match=message):
        open_slide(tmp_path / "a.zarr")


def test_pickled_objects_in_a_store_are_never_loaded(tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", {"multiscales": [ENTRY]})
    header = tmp_path / "a.zarr/0/.zarray"
    header.write_text(json.dumps(json.loads(header.read_text()) | {"compressor": {"id": "pickle", "protocol": 5}}))
    with pytest.raises(MedSegError, match=r"pickled objects|cannot be read"):  # zarr itself refuses it, too
        open_slide(tmp_path / "a.zarr")


def test_without_its_library_a_slide_says_what_to_install(
    tmp_path: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.ndpi").write_bytes(b"II*\0")
    (tmp_path / "a.zarr").mkdir()
    write_pyramid(tmp_path / "a.svs", picture, 2)
    for library in ("openslide", "zarr"):
        monkeypatch.setitem(sys.modules, library, None)
    for name in ("a.ndpi", "a.zarr"):
        with pytest.raises(MedSegError, match=r'pip install "napari-medseg\[slides\]"'):
            open_slide(tmp_path / name)
    open_slide(tmp_path / "a.svs").close()  # tifffile is always there


def test_sizes_that_were_rounded_do_not_change_the_factor_of_a_level() -> None:
    levels = make_levels([(100_001, 90_003), (25_001, 22_501), (1563, 1407), (720, 640)])
    assert [level.downsample for level in levels] == [1.0, 4.0, 64.0, pytest.approx(140.63, abs=0.01)]


def test_the_coarsest_level_that_is_fine_enough_is_chosen(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    slide = open_slide(write_pyramid(tmp_path / "a.tif", picture, 2, 4))
    assert [choose_level(slide, factor) for factor in (0.5, 1, 2, 3, 4, 100)] == [0, 0, 1, 1, 2, 2]
    slide.close()


def test_a_slide_is_not_read_as_one_image_and_says_how_it_is(
    tmp_path: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pyramid(tmp_path / "a.svs", picture, 2, compression=None)
    assert formats.read(path).pixels.shape == picture.shape  # a small one is
    monkeypatch.setattr(slides, "MAX_WHOLE_PIXELS", 1_000_000)
    with pytest.raises(MedSegError, match=r"is a slide of 2,050 x 1,500 pixels.*a.svs/a_level0_x0_y0_1000x1000.svs"):
        formats.read(path)
    assert formats.read(path / "a_level0_x0_y0_1000x1000.svs").pixels.shape == (1000, 1000, 3)
    write_ome_zarr(str(tmp_path / "b.zarr"), picture, 2)
    with pytest.raises(MedSegError, match="is a slide of"):
        formats.read(tmp_path / "b.zarr")
    with allow_memory(10**9):
        assert formats.read(path).pixels.shape == picture.shape
