"""Slides of scanners (NDPI, MRXS, SCN, Ventana, Philips and others), read with OpenSlide.

Goode et al., J Pathol Inform 2013. OpenSlide is an extra: ``pip install "napari-medseg[slides]"``.
"""

import ctypes
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import translate_decode_errors
from napari_medseg.core.slides.slide import WHITE, DamagedPartError, make_levels

INSTALL = 'pip install "napari-medseg[slides]"'
_STRIP_PIXELS = 2**22


class OpenSlideSlide:
    """A `Slide` of a scanner's own format.

    Raises
    ------
    MedSegError
        If OpenSlide is not installed, does not know the format, or the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        openslide = import_openslide(path.name)
        self.path = path
        self.name = path.name
        with translate_decode_errors(path, "a slide"):
            try:
                self._slide = openslide.OpenSlide(path)
            except openslide.OpenSlideError as error:
                raise ValueError(str(error) or "OpenSlide does not know its format") from error
        self._error = openslide.OpenSlideError
        sizes = [(height, width) for width, height in self._slide.level_dimensions]
        self._factors = tuple(self._slide.level_downsamples)
        self.levels = make_levels(sizes, self._factors)
        self.spacing_mm = _read_spacing(self._slide.properties)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Read a part of a level, see `Slide.read`."""
        rows = max(1, _STRIP_PIXELS // max(1, width))
        strips = [self._read(level, y + top, x, min(rows, height - top), width) for top in range(0, height, rows)]
        return strips[0] if len(strips) == 1 else np.concatenate(strips)

    def close(self) -> None:
        """Close the file."""
        with suppress(ctypes.ArgumentError):  # it is closed
            self._slide.close()

    def _read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        factor = self._factors[level]
        try:
            region = self._slide.read_region((round(x * factor), round(y * factor)), level, (width, height))
        except (self._error, ctypes.ArgumentError) as error:  # the latter if it could not be opened again before
            self._open_again()
            raise DamagedPartError(self.name, level, y, x, height, width, str(error)[:120]) from error
        return _put_on_white(np.asarray(region))

    def _open_again(self) -> None:
        """Open the file once more: after an error, OpenSlide reads no more; a file that is gone is tried later."""
        self.close()
        with suppress(self._error, OSError):
            self._slide = import_openslide(self.name).OpenSlide(self.path)


def detect_vendor(path: Path) -> str:
    """Return what OpenSlide calls the format of a file, such as ``"aperio"``; empty if it is not known or installed."""
    try:
        import openslide
    except (ImportError, OSError):
        return ""
    try:
        return str(openslide.OpenSlide.detect_format(path) or "")
    except openslide.OpenSlideError:
        return ""


def import_openslide(name: str) -> ModuleType:
    """Return the library; where it is missing, an error says how to install it."""
    try:
        import openslide
    except (ImportError, OSError) as error:
        raise MedSegError(f"{name} is read with OpenSlide, which is not installed. Install it: {INSTALL}.") from error
    library: ModuleType = openslide
    return library


def _read_spacing(properties: "dict[str, str]") -> tuple[float, float] | None:
    try:
        y, x = (float(properties[f"openslide.mpp-{axis}"]) / 1000 for axis in "yx")
    except (KeyError, ValueError):
        return None
    return (y, x) if y > 0 and x > 0 else None


def _put_on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGB on white; what was not scanned is transparent. The colours are not multiplied by the alpha."""
    alpha = rgba[..., 3:]
    if (alpha == WHITE).all():
        return np.ascontiguousarray(rgba[..., :3])
    share = alpha.astype(np.uint16)
    mixed = (rgba[..., :3] * share + WHITE * (WHITE - share) + WHITE // 2) // WHITE
    return mixed.astype(np.uint8)
