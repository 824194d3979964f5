"""Small slides of every kind, made with tifffile and zarr: pink tissue with dark nuclei on white glass."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from scipy import ndimage

HEIGHT, WIDTH = 1500, 2050
MPP = 0.25
APERIO = f"Aperio Image Library v11.2.1\n{WIDTH}x{HEIGHT} (256x256) RAW/RGB|AppMag = 40|MPP = {MPP:.4f}"
GLASS, TISSUE, NUCLEUS = (244, 243, 245), (224, 160, 196), (110, 70, 150)
TISSUE_BOX = (300, 250, 1250, 1700)
"""The tissue is the ellipse in this box (top, left, bottom, right)."""


def make_picture(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> NDArray[np.uint8]:
    """Return (height, width, 3): an ellipse of tissue with nuclei, whose grain is nowhere the same."""
    random = np.random.default_rng(seed)
    rows, columns = np.ogrid[:height, :width]
    top, left, bottom, right = (round(v * height / HEIGHT) for v in TISSUE_BOX)
    y, x = (top + bottom) / 2, (left + right) / 2
    is_tissue = ((rows - y) / ((bottom - top) / 2)) ** 2 + ((columns - x) / ((right - left) / 2)) ** 2 < 1
    grain = ndimage.gaussian_filter(random.normal(size=(height, width)), 6)
    is_nucleus = is_tissue & (grain > 0.06)
    picture = np.empty((height, width, 3), np.int16)
    picture[:] = GLASS
    picture[is_tissue] = TISSUE
    picture[is_nucleus] = NUCLEUS
    picture += random.integers(-6, 7, (height, width, 1), np.int16)
    return np.clip(picture, 0, 255).astype(np.uint8)


def reduce_picture(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return every n-th pixel, so that a test knows the pixels of each level."""
    return np.ascontiguousarray(picture[::factor, ::factor])


def write_pyramid(path: Path, picture: NDArray[np.uint8], *factors: int, **options: Any) -> Path:
    """Write a BigTIFF with SubIFDs, an OME-TIFF (``.ome.tif``), or an Aperio slide (``.svs``), at 0.25 um per pixel."""
    is_ome, is_aperio = path.name.endswith(".ome.tif"), path.suffix == ".svs"
    options = {"tile": (256, 256), "photometric": "rgb", "compression": "zlib", **options}
    with tifffile.TiffWriter(path, bigtiff=not is_aperio, ome=is_ome) as tiff:
        metadata = {"axes": "YXS", "PhysicalSizeX": MPP, "PhysicalSizeY": MPP} if is_ome else None
        described = {"description": APERIO} if is_aperio else {}
        resolution = {"resolution": (10_000 / MPP, 10_000 / MPP), "resolutionunit": "CENTIMETER"}
        sub = {} if is_aperio else {"subifds": len(factors)}
        tiff.write(picture, metadata=metadata, **options, **described, **resolution, **sub)
        if is_aperio:  # the thumbnail is the second page
            tiff.write(reduce_picture(picture, 10), photometric="rgb", metadata=None, description=APERIO)
        for factor in factors:
            reduced = {} if is_aperio else {"subfiletype": 1}
            tiff.write(reduce_picture(picture, factor), metadata=None, **options, **described, **reduced)
    return path


def write_ome_zarr(
    store: Any, picture: NDArray[np.uint8], *factors: int, version: str = "0.4", axes: str = "tczyx"
) -> None:
    """Write OME-Zarr 0.4 (zarr v2) or 0.5 (zarr v3) into a folder or store, at 0.25 um per pixel."""
    group = zarr.open_group(store, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for number, factor in enumerate((1, *factors)):
        reduced = reduce_picture(picture, factor)
        lengths = dict(zip("yxc", reduced.shape, strict=True))
        shape = tuple(lengths.get(axis, 1) for axis in axes)
        chunks = tuple(256 if axis in "yx" else lengths.get(axis, 1) for axis in axes)
        order = [("y", "x", "c").index(axis) for axis in axes if axis in "yxc"]
        array = group.create_array(str(number), shape=shape, chunks=chunks, dtype="u1")
        array[:] = reduced.transpose(order).reshape(shape)
        scale = [MPP * factor if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    kinds = {"t": "time", "c": "channel"}
    described = [
        {"name": axis, "type": kinds.get(axis, "space")} | ({"unit": "micrometer"} if axis in "zyx" else {})
        for axis in axes
    ]
    multiscales = {"axes": described, "datasets": datasets, "name": "slide"}
    if version == "0.4":
        group.attrs["multiscales"] = [multiscales | {"version": version}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": [multiscales]}
