"""TIFF: planes and stacks of pages, with the voxel size from ImageJ, OME, resolution tags or this program's text."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_too_large, refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.grid_metadata import GRID_KEY, GridMetadata, apply_grid, make_grid_json, parse_grid_json
from napari_medseg.core.formats.orientation import make_identity_storage, reorient_to_canonical, reorient_to_file
from napari_medseg.core.formats.png_jpeg import reduce_to_grey
from napari_medseg.core.formats.tiff_truncation import refuse_truncated
from napari_medseg.core.image import Image, StorageLayout, cast_native, looks_like_hu

_MM_PER_UNIT = {
    "m": 1e3,
    "cm": 10.0,
    "centimeter": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "µm": 1e-3,
    "μm": 1e-3,
    "\\u00b5m": 1e-3,
    "um": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "nm": 1e-6,
    "inch": 25.4,
}
# Printer resolutions (dots per inch) that programs write by default; they are not the pixel size of the image.
_PRINT_DPI = (1, 72, 75, 96, 100, 120, 150, 200, 240, 300, 350, 400, 600, 1200)
_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)


def read_tiff(path: Path) -> Image:
    """Read a plane or a stack of pages.

    Raises
    ------
    MedSegError
        If it is damaged, has more dimensions than one stack of planes (time, channels), or holds NaN.
    """
    with translate_decode_errors(path, "TIFF"), tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        if 0 in series.shape:
            raise MedSegError(f"{path.name} has no pixels (its size is {series.shape}). Export it again.")
        refuse_truncated(path, series)
        refuse_too_large(series.shape, series.dtype.itemsize, path)
        order = _compute_axis_order(series.axes, series.shape, path.name)
        pixels = np.transpose(series.asarray().reshape(series.shape), order)
        pixels = pixels.reshape(pixels.shape[len(pixels.shape) - _count_kept_axes(series.axes, series.shape) :])
        grid, spacing = _read_grid(tiff), _read_spacing_zyx(tiff)
        n_series = len(tiff.series)
    return _make_image(path, pixels, series.axes, grid, spacing, n_series)


def read_tiff_grid(path: Path) -> GridMetadata:
    """Return the grid stored in a TIFF file of this program; an empty grid for files of other programs."""
    with translate_decode_errors(path, "TIFF"), tifffile.TiffFile(path) as tiff:
        return _read_grid(tiff)


def write_tiff(path: Path, pixels: NDArray[Any], image: Image, storage: StorageLayout) -> None:
    """Write canonical pixels in the order of `storage`, with voxel size and affine.

    uint8, uint16 and float32 are written as ImageJ TIFF, so that ImageJ shows the voxel size; other types with plain
    resolution tags.

    Raises
    ------
    MedSegError
        If the folder cannot be written to.
    """
    lying = reorient_to_file(pixels, storage)
    axes = ("YX" if len(storage.flips) == 2 else "ZYX") + ("S" if lying.ndim > len(storage.flips) else "")
    spacing = None if image.spacing_mm is None else [image.spacing_mm[n] for n in np.argsort(storage.permutation)]
    text = make_grid_json(image, storage)
    options: dict[str, Any] = {"compression": "zlib", "photometric": "rgb" if axes.endswith("S") else "minisblack"}
    if lying.dtype in _IMAGEJ_TYPES and not (axes.endswith("S") and lying.dtype != np.uint8):
        metadata: dict[str, Any] = {"axes": axes, "Info": text}
        if spacing is not None:
            # In centimetres, for both readers: ImageJ takes the unit from its text, others (ITK) from ResolutionUnit,
            # which has no millimetres. The distance of slices is in ImageJ's text only, because TIFF has no tag for it.
            options |= {"resolution": (10 / spacing[-1], 10 / spacing[-2]), "resolutionunit": "CENTIMETER"}
            metadata |= {"unit": "cm"} | ({"spacing": spacing[0] / 10} if len(spacing) == 3 else {})
        options |= {"imagej": True}
    else:
        metadata = {"axes": axes, GRID_KEY: text}
        if spacing is not None:
            options |= {"resolution": (10 / spacing[-1], 10 / spacing[-2]), "resolutionunit": "CENTIMETER"}
    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, lying, metadata=metadata, **options)


def _make_image(
    path: Path, pixels: NDArray[Any], axes: str, grid: GridMetadata, spacing: tuple[float | None, ...], n_series: int
) -> Image:
    is_colour = pixels.ndim > 2 and (axes.endswith("S") or "C" in axes) and pixels.shape[-1] in (2, 3, 4)
    units = "grey"
    if is_colour:
        pixels, units = reduce_to_grey(pixels)
    refuse_unusable(pixels, path.name)
    pixels = cast_native(pixels)
    n_spatial = pixels.ndim - (units == "rgb")
    storage = grid.storage if grid.storage is not None and len(grid.storage.flips) == n_spatial else None
    storage = storage or make_identity_storage(n_spatial)
    known = [value for value in spacing[3 - n_spatial :] if value is not None]
    if looks_like_hu(pixels):
        units = "HU"
    image = Image(
        pixels=reorient_to_canonical(pixels, storage),
        axes=("YX" if n_spatial == 2 else "ZYX") + ("C" if units == "rgb" else ""),
        spacing_mm=tuple(known) if len(known) == n_spatial else None,
        modality="CT" if units == "HU" else "",
        units=units,
        name=path.stem.removesuffix(".ome"),
        sources=(path,),
        storage=storage,
        notes=(f"The file holds {n_series} images; the first one is shown.",) if n_series > 1 else (),
    )
    return apply_grid(image, grid)


def _find_kept_axes(axes: str, shape: tuple[int, ...]) -> list[int]:
    """Return the indices of the axes that are kept: those longer than 1, and always rows and columns."""
    return [n for n, letter in enumerate(axes) if shape[n] > 1 or letter in "YX"]


def _count_kept_axes(axes: str, shape: tuple[int, ...]) -> int:
    return len(_find_kept_axes(axes, shape))


def _compute_axis_order(axes: str, shape: tuple[int, ...], name: str) -> list[int]:
    """Return the transpose order: dropped axes, stack axis if any, rows, columns, colour axis if any."""
    kept = _find_kept_axes(axes, shape)
    letters = [axes[n] for n in kept]
    colours = [n for n in kept if axes[n] == "S" or (axes[n] == "C" and shape[n] == 3)]
    stack = [n for n in kept if axes[n] not in "YX" and n not in colours]
    if letters.count("Y") != 1 or letters.count("X") != 1 or len(stack) > 1 or len(colours) > 1:
        raise MedSegError(
            f"{name} has {len(kept)} dimensions ({axes}: {' x '.join(map(str, shape))}); one plane or one stack of "
            "planes is expected. Save one time point or channel as a separate file."
        )
    dropped = [n for n in range(len(axes)) if n not in kept]
    return [*dropped, *stack, axes.index("Y"), axes.index("X"), *colours]


def _read_grid(tiff: tifffile.TiffFile) -> GridMetadata:
    imagej = tiff.imagej_metadata or {}
    shaped: dict[str, Any] = (tiff.shaped_metadata or ({},))[0]
    return parse_grid_json(str(imagej.get("Info") or shaped.get(GRID_KEY) or ""))


def _read_spacing_zyx(tiff: tifffile.TiffFile) -> tuple[float | None, ...]:
    """Millimetres along (z, y, x); `None` for an axis without a spacing in the file."""
    if tiff.is_ome and tiff.ome_metadata:
        return _parse_ome_spacing(tiff.ome_metadata)
    imagej = tiff.imagej_metadata or {}
    page = tiff.pages.first
    per_unit = [_read_ratio(page.tags.get(tag)) for tag in ("YResolution", "XResolution")]
    if imagej:
        mm = _MM_PER_UNIT.get(str(imagej.get("unit", "")).strip().lower())
        z = imagej.get("spacing")
        scale = [None if mm is None or not value else mm / value for value in per_unit]
        return (None if mm is None or not z else abs(float(z)) * mm, *scale)
    unit = page.tags.get("ResolutionUnit")
    mm = {2: 25.4, 3: 10.0}.get(int(unit.value) if unit else 0)
    if mm is None or None in per_unit or (mm == 25.4 and round(per_unit[0] or 0, 2) in _PRINT_DPI):
        return (None, None, None)
    return (None, *[mm / value if value else None for value in per_unit])


def _parse_ome_spacing(xml: str) -> tuple[float | None, ...]:
    images = tifffile.xml2dict(xml)["OME"]["Image"]
    pixels = (images[0] if isinstance(images, list) else images)["Pixels"]
    spacing: list[float | None] = []
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        mm = _MM_PER_UNIT.get(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")).strip().lower())
        spacing.append(float(size) * mm if size is not None and mm is not None and float(size) > 0 else None)
    return tuple(spacing)


def _read_ratio(tag: tifffile.TiffTag | None) -> float | None:
    if tag is None:
        return None
    numerator, denominator = tag.value
    return float(numerator) / float(denominator) if numerator and denominator else None
