"""Which files are slides, and the reader of each."""

from pathlib import Path

import tifffile

from napari_medseg.core.slides.slide import Slide

MIN_PYRAMID_SIDE = 1024
"""A smaller pyramid is opened as an ordinary image."""
MIN_PLAIN_PIXELS = 100_000_000
"""Without reduced copies, only a file of so many pixels is a slide."""

_TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn", ".bif", ".svslide")
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_slide(path: Path) -> Slide:
    """Open a slide; close it when it is no longer needed.

    Raises
    ------
    MedSegError
        If it is missing, damaged, or no slide.
    """
    from napari_medseg.core.slides.tiff_slide import TiffSlide

    return TiffSlide(path)


def is_slide(path: Path) -> bool:
    """Return whether a file is opened as a slide, by its suffix and first bytes; an ordinary TIFF is none."""
    if path.suffix.lower() not in _TIFF_SUFFIXES:
        return False
    try:
        with path.open("rb") as file:
            is_tiff = file.read(4) in _TIFF_STARTS
        return is_tiff and _is_pyramid(path)
    except OSError:
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
