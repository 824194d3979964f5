"""Which files are slides, and the reader of each."""

from pathlib import Path

import tifffile

from napari_medseg.core.containers.addresses import find_address
from napari_medseg.core.containers.part_paths import STORE_SUFFIX, is_store
from napari_medseg.core.decoded_size.limit import get_max_memory
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.slides.slide import Slide

MIN_PYRAMID_SIDE = 1024
"""A smaller pyramid is opened as an ordinary image."""
MIN_PLAIN_PIXELS = 100_000_000
"""Without reduced copies, only a file of so many pixels is a slide."""

MAX_WHOLE_PIXELS = 6000 * 6000
"""A larger slide is not read as one image."""
MIN_LARGE_BYTES = 5_000_000

_TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SCANNER_SUFFIXES = (".ndpi", ".mrxs", ".scn", ".bif", ".svslide", ".vms", ".vmu")
"""Of formats that OpenSlide reads, and nothing else."""
_SCANNERS_IN_TIFF = ("leica", "philips", "trestle", "ventana", "hamamatsu")
"""Formats of OpenSlide with the suffix of TIFF, but with tiles that lie elsewhere than TIFF says."""
_OME_WORDS = (b'"multiscales"', b'"bioformats2raw.layout"')
_MAX_ATTRIBUTE_BYTES = 2**20
SLIDE_SUFFIXES = (*_TIFF_SUFFIXES, *_SCANNER_SUFFIXES, STORE_SUFFIX)


def open_slide(path: Path) -> Slide:
    """Open a slide; close it when it is no longer needed.

    Parameters
    ----------
    path
        A file, an OME-Zarr folder, or an address of OME-Zarr such as ``https://host/a.zarr``.

    Raises
    ------
    MedSegError
        If it is missing, damaged, or no slide.
    """
    if find_address(path) is not None or is_store(path):
        return _open_store(path)
    if not path.is_file():
        raise MedSegError(f"{path} does not exist. Check the name, or whether a drive is disconnected.")
    if path.suffix.lower() in _SCANNER_SUFFIXES:
        return _open_with_openslide(path)
    if path.suffix.lower() not in _TIFF_SUFFIXES and not _starts_as_tiff(path):
        raise MedSegError(f"{path.name} is no slide; slides are SVS, NDPI, MRXS, SCN, BIF, TIFF pyramids and OME-Zarr.")
    return _open_tiff(path)


def is_slide(path: Path) -> bool:
    """Return whether a file is opened as a slide, by its suffix and first bytes; an ordinary TIFF is none."""
    suffix = path.suffix.lower()
    if find_address(path) is not None:
        return suffix == STORE_SUFFIX
    if suffix == STORE_SUFFIX:
        return is_store(path) and _is_ome_zarr(path)
    if suffix in _SCANNER_SUFFIXES:
        return path.is_file()
    return suffix in _TIFF_SUFFIXES and _starts_as_tiff(path) and _is_pyramid(path)


def refuse_whole_slide(path: Path) -> None:
    """Refuse to read a slide as one image, unless it is small or a person allowed any size.

    Raises
    ------
    MedSegError
        Says how fields are read.
    """
    suffix = path.suffix.lower()
    is_of_scanner = suffix in (*_SCANNER_SUFFIXES, STORE_SUFFIX)
    if get_max_memory() is not None or not (is_of_scanner or suffix in _TIFF_SUFFIXES) or not path.exists():
        return
    if not is_of_scanner and (path.stat().st_size < MIN_LARGE_BYTES or not is_slide(path)):
        return
    slide = open_slide(path)
    slide.close()
    whole = slide.levels[0]
    if is_of_scanner or whole.height * whole.width > MAX_WHOLE_PIXELS:
        raise MedSegError(
            f"{path.name} is a slide of {whole.width:,} x {whole.height:,} pixels, which is read in fields. Draw them "
            f"in the window, or name one: {path.name}/{path.stem}_level0_x0_y0_1000x1000{path.suffix}. "
            "medseg slides predicts all of it."
        )


def _open_store(path: Path) -> Slide:
    from napari_medseg.core.slides.zarr_slide import ZarrSlide

    if path.suffix.lower() != STORE_SUFFIX:
        raise MedSegError(f"{find_address(path)} is no address of OME-Zarr; it ends with {STORE_SUFFIX}.")
    return ZarrSlide(path)


def _open_with_openslide(path: Path) -> Slide:
    from napari_medseg.core.slides.openslide_slide import OpenSlideSlide

    return OpenSlideSlide(path)


def _open_tiff(path: Path) -> Slide:
    """Open a TIFF with our reader, so that its pixels are the same wherever OpenSlide is; else with OpenSlide."""
    from napari_medseg.core.slides.openslide_slide import detect_vendor
    from napari_medseg.core.slides.tiff_slide import TiffSlide

    vendor = detect_vendor(path)
    if vendor in _SCANNERS_IN_TIFF:
        return _open_with_openslide(path)
    try:
        return TiffSlide(path)
    except MedSegError:
        if not vendor:
            raise
        return _open_with_openslide(path)  # such as JPEG 2000 of YCbCr


def _starts_as_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in _TIFF_STARTS
    except OSError:
        return False


def _is_ome_zarr(path: Path) -> bool:
    """Whether the attributes of a Zarr store say that it is an image of OME, of this or the earlier versions."""
    for name in (".zattrs", "zarr.json"):
        try:
            with (path / name).open("rb") as file:
                attributes = file.read(_MAX_ATTRIBUTE_BYTES)
        except OSError:
            continue
        if any(word in attributes for word in _OME_WORDS):
            return True
    return False


def _is_pyramid(path: Path) -> bool:
    """Whether a TIFF holds a large tiled page with reduced copies, or one that is larger than an image is."""
    try:
        with tifffile.TiffFile(path) as tiff:
            first = tiff.pages.first
            n_pixels = first.imagelength * first.imagewidth
            if n_pixels >= MIN_PLAIN_PIXELS:
                return bool(first.imagedepth == 1)
            is_large = first.is_tiled and max(first.imagelength, first.imagewidth) >= MIN_PYRAMID_SIDE
            return bool(is_large and (first.subifds or _has_reduced_pages(tiff)))
    except Exception:  # noqa: BLE001 - reading it says what is wrong
        return False


def _has_reduced_pages(tiff: tifffile.TiffFile) -> bool:
    """Whether a tiled page after the first one is smaller."""
    first = tiff.pages.first
    others = (tiff.pages[n].aspage() for n in range(1, min(len(tiff.pages), 16)))
    return any(page.is_tiled and page.imagewidth < first.imagewidth for page in others)
