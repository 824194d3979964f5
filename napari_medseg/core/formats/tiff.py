"""TIFF: planes and stacks of pages, upright, in grey or RGB, with their voxel size, whoever wrote them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from tifffile import PHOTOMETRIC

from napari_medseg.core.atomic_io import atomic_write
from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.grid_metadata import GRID_KEY, GridMetadata, apply_grid, make_grid_json, parse_grid_json
from napari_medseg.core.formats.mask_channels import choose_mask_channel
from napari_medseg.core.formats.orientation import make_turned_storage, reorient_own_pixels, reorient_to_file
from napari_medseg.core.formats.png_jpeg import reduce_to_grey
from napari_medseg.core.hounsfield import looks_like_hu
from napari_medseg.core.image import Image, StorageLayout, cast_native
from napari_medseg.core.tiff.axes import find_axes
from napari_medseg.core.tiff.integrity import refuse_broken_chain, refuse_incomplete
from napari_medseg.core.tiff.ome import read_ome_annotation, refuse_unsafe_ome
from napari_medseg.core.tiff.photometric import Colours, convert_to_grey_or_rgb, keep_numbers, read_colours
from napari_medseg.core.tiff.samples import compute_sample_bytes, read_samples, refuse_larger_codestreams
from napari_medseg.core.tiff.spacing import read_spacing_zyx
from napari_medseg.core.tiff.times import choose_time, find_main_series, list_times

_IMAGEJ_TYPES = (np.uint8, np.uint16, np.float32)
COMPRESSION_LEVEL = 1
"""Of zlib, 1 to 9. A CT series is written in a third of the time of level 6, and its file is 2 % larger."""


@dataclass(frozen=True, eq=False)
class _Raster:
    """The samples of a file, (y, x, samples) or (z, y, x, samples) in file order, and what its tags say."""

    values: NDArray[Any]
    colours: Colours
    grid: GridMetadata
    spacing_zyx: tuple[float | None, ...]
    orientation: int
    notes: tuple[str, ...]
    is_plain: bool
    """Whether it was written by ImageJ or tifffile, which store what they are given, whatever they say about white."""


def read_tiff(path: Path, expected_bytes: int | None = None) -> Image:
    """Read a plane or a stack of pages as grey or RGB.

    The first image of full size is read; a pyramid is read at its full size. Its colours are converted by the tags, its
    Orientation is applied. Alpha is dropped. `expected_bytes` is what it takes at most, if that is known (see
    `compute_limit`).

    Raises
    ------
    SeveralImagesError
        If it has several time points, see `read_tiff_volume`.
    MedSegError
        If it is damaged, strips are missing, or it would take too much memory; if it has channels, has colours
        without an exact conversion (CIELab, RGB of floats), or holds NaN.
    """
    return _read_image(path, expected_bytes, None)


def read_tiff_volume(path: Path, volume: int) -> Image:
    """Read one time point, from 1 on, of a file of several; errors as of `read_tiff`."""
    return _read_image(path, None, volume)


def list_tiff_volumes(path: Path) -> tuple[str, ...]:
    """Return the titles of the time points of a file; none if it has one. Raises `MedSegError` if it is damaged."""
    with translate_decode_errors(path, "TIFF"):
        return list_times(path)


def _read_image(path: Path, expected_bytes: int | None, volume: int | None) -> Image:
    raster = _read_raster(path, expected_bytes, volume)
    with translate_decode_errors(path, "TIFF"):
        pixels, units = reduce_to_grey(convert_to_grey_or_rgb(raster.values, raster.colours, path.name))
    return _make_image(path, raster, pixels, units)


def read_tiff_mask(path: Path, expected_bytes: int | None = None) -> tuple[Image, tuple[str, ...]]:
    """Read a TIFF as a mask, one number per pixel, with remarks about how it was read.

    It is the channel that holds the labels, see `mask_channels`. Palette indices and values of 2 and 4 bits are kept.
    Where 0 is white, values are kept as stored, as ImageJ and tifffile write masks; only of a page of 1 bit by another
    program, white is the drawing. `expected_bytes` is as of `read_tiff`.

    Raises
    ------
    MedSegError
        As `read_tiff`; also if two channels show different drawings.
    """
    raster = _read_raster(path, expected_bytes)
    values, colours, notes = raster.values, raster.colours, raster.notes
    if not colours.has_numbers and not colours.is_rgb_already and colours.photometric != PHOTOMETRIC.RGB:
        values = convert_to_grey_or_rgb(values, colours, path.name)
    if values.shape[-1] == 1:
        pixels = keep_numbers(values)
        if colours.photometric == PHOTOMETRIC.MINISWHITE and not raster.is_plain:
            inverted = "the file shows its values inverted (0 is white); they were taken as stored"
            pixels, notes = (1 - pixels, notes) if colours.bits == 1 else (pixels, (*notes, inverted))
    else:
        channel = choose_mask_channel(values, path.name)
        pixels, notes = channel.values, (*notes, *channel.notes)
    return _make_image(path, raster, pixels, "grey"), notes


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
    options["compressionargs"] = {"level": COMPRESSION_LEVEL}
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


def _read_raster(path: Path, expected_bytes: int | None, volume: int | None = None) -> _Raster:
    with translate_decode_errors(path, "TIFF"), tifffile.TiffFile(path) as tiff:
        refuse_broken_chain(path)
        refuse_unsafe_ome(path, tiff)
        series = choose_time(find_main_series(tiff), path, volume)
        page = series.keyframe
        if 0 in series.shape:
            raise MedSegError(f"{path.name} has no pixels (its size is {series.shape}). Export it again.")
        axes = find_axes(series.axes, series.shape, path.name)
        colours = read_colours(page, path.name)
        refuse_incomplete(path, series)
        disk_bytes = path.stat().st_size
        refuse_above_limit(compute_sample_bytes(series), disk_bytes, path.name, expected_bytes=expected_bytes)
        refuse_larger_codestreams(series, path.name)
        values = read_samples(series, axes)
        more = f"The file holds {len(tiff.series)} images; the first one of full size is shown."
        return _Raster(
            values,
            colours,
            grid=_read_grid(tiff),
            spacing_zyx=read_spacing_zyx(tiff, page),
            orientation=int(page.tags.valueof("Orientation", default=1)),
            notes=colours.notes + ((more,) if len(tiff.series) > 1 else ()),
            is_plain=tiff.is_imagej or str(page.software).startswith("tifffile"),
        )


def _make_image(path: Path, raster: _Raster, pixels: NDArray[Any], units: str) -> Image:
    refuse_unusable(pixels, path.name)
    pixels = cast_native(pixels)
    n_spatial = pixels.ndim - (units == "rgb")
    stored = raster.grid.storage
    is_ours = stored is not None and len(stored.flips) == n_spatial
    storage = stored if stored is not None and is_ours else make_turned_storage(raster.orientation, n_spatial)
    in_file = raster.spacing_zyx[3 - n_spatial :]
    known = [value for value in (in_file[axis] for axis in storage.permutation) if value is not None]
    if units == "grey" and looks_like_hu(pixels):
        units = "HU"
    image = Image(
        pixels=reorient_own_pixels(pixels, storage),
        axes=("YX" if n_spatial == 2 else "ZYX") + ("C" if units == "rgb" else ""),
        spacing_mm=tuple(known) if len(known) == n_spatial else None,
        modality="CT" if units == "HU" else "",
        units=units,
        name=path.stem.removesuffix(".ome"),
        sources=(path,),
        storage=storage,
        notes=raster.notes,
    )
    return apply_grid(image, raster.grid)


def _read_grid(tiff: tifffile.TiffFile) -> GridMetadata:
    imagej = tiff.imagej_metadata or {}
    shaped: dict[str, Any] = (tiff.shaped_metadata or ({},))[0]
    return parse_grid_json(str(imagej.get("Info") or shaped.get(GRID_KEY) or read_ome_annotation(tiff, GRID_KEY)))
