"""An image with its geometry.

Pixels are kept in one canonical order, the radiological one: x grows to the patient's left (so the patient's right lung
is on the left of the image), y grows to the back, z grows to the head. `StorageLayout` keeps the order in the file, so
that the conversion can be reversed exactly.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core.acquisition import Acquisition
from napari_medseg.core.decoded_size.slabs import iterate_slabs
from napari_medseg.core.errors import MedSegError

SPATIAL_AXES = "ZYX"
GRID_TOLERANCE_MM = 1e-3
Conversion = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class StorageLayout:
    """Order of the pixels in the file, relative to the canonical order of `Image`.

    Parameters
    ----------
    permutation
        Spatial axes: canonical axis `n` is the file's axis `permutation[n]`.
    flips
        Per canonical spatial axis: whether its direction is opposite to that of the file axis.
    affine
        The file's 4x4 float64 matrix, file index (i, j, k, 1) to RAS millimetres, unchanged; `None` if it has none.
    nifti_header
        The 348 or 540 header bytes of a NIfTI source, so that exports have bit-identical geometry; else empty.
    """

    permutation: tuple[int, ...]
    flips: tuple[bool, ...]
    affine: NDArray[np.float64] | None = None
    nifti_header: bytes = b""

    def to_canonical(self, file_array: NDArray[Any]) -> NDArray[Any]:
        """Convert a spatial array from file order to canonical order; returns a view."""
        return np.transpose(file_array, self.permutation)[self._get_flip_slices()]

    def to_file(self, canonical_array: NDArray[Any]) -> NDArray[Any]:
        """Convert a spatial array from canonical order to file order; returns a view. Inverse of `to_canonical`."""
        inverse = tuple(int(axis) for axis in np.argsort(self.permutation))
        return np.transpose(canonical_array[self._get_flip_slices()], inverse)

    def _get_flip_slices(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels with axes, spacing and affine.

    Parameters
    ----------
    pixels
        Array in canonical order; one dimension per letter of `axes`.
    axes
        ``"YX"``, ``"ZYX"``, ``"YXC"`` or ``"ZYXC"``; C is RGB.
    spacing_mm
        Millimetres per pixel for each spatial axis in the order of `axes`; `None` if unknown.
    affine
        4x4 matrix, canonical index (z, y, x, 1) to RAS millimetres (z is 0 for one slice); `None` if unknown.
    modality
        DICOM modality (``"CT"``, ``"CR"``, ``"DX"``), or ``""`` if unknown.
    units
        ``"HU"``, ``"grey"`` or ``"rgb"``.
    group
        Patient, slide or video. Cases of one group are always on the same side of a split.
    name
        Name to show: file or series name.
    series
        DICOM SeriesInstanceUID, ``""`` if there is none.
    sources
        The files it was read from, in slice order.
    storage
        Pixel order in the file; `None` for an image that was not read from a file.
    notes
        Remarks about reading for the user, one sentence each ("gantry tilt of 12 degrees").
    acquisition
        SOP class, body part and view, where the header says them.
    padding_value
        Value of the pixels that were not measured, such as those outside the field of view of a CT; `None` if there are
        none. They count in no statistic.
    intensity_range
        Values (low, high) that a network is shown as 0 and 1, measured on the whole that this image is a part of, such
        as the tissue of a slide; `None` for the percentiles of each plane. Not for HU.
    slice_shift_mm
        By how many millimetres a slice of a DICOM series lies off its place on the even grid, at most.
    """

    pixels: NDArray[Any]
    axes: str
    spacing_mm: tuple[float, ...] | None = None
    affine: NDArray[np.float64] | None = None
    modality: str = ""
    units: str = "grey"
    group: str = ""
    name: str = ""
    series: str = ""
    sources: tuple[Path, ...] = ()
    storage: StorageLayout | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    acquisition: Acquisition = field(default_factory=Acquisition)
    padding_value: float | None = None
    intensity_range: tuple[float, float] | None = None
    slice_shift_mm: float = 0.0

    def __post_init__(self) -> None:
        if self.pixels.ndim != len(self.axes):
            raise MedSegError(
                f"{self.name or 'the image'} has {self.pixels.ndim} dimensions, but its axes are {self.axes!r}. "
                "Give one letter for each dimension."
            )
        if self.spacing_mm is not None and len(self.spacing_mm) != len(self.spatial_axes):
            raise MedSegError(
                f"{self.name or 'the image'} has spacing {self.spacing_mm} for axes {self.spatial_axes!r}. "
                "Give one number in millimetres for each spatial axis."
            )

    @property
    def spatial_axes(self) -> str:
        """The axes without C."""
        return self.axes.replace("C", "")

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Shape of the labels of this image, (y, x) or (z, y, x)."""
        return self.pixels.shape[: len(self.spatial_axes)]

    @property
    def voxel_volume_ml(self) -> float | None:
        """Volume of one voxel in ml; `None` for a plane or if the spacing is unknown."""
        if self.spacing_mm is None or len(self.spacing_mm) != len(SPATIAL_AXES):
            return None
        return float(np.prod(self.spacing_mm)) / 1000.0

    @property
    def pixel_area_mm2(self) -> float | None:
        """Area of one pixel in the plane (y, x) in mm2; `None` if the spacing is unknown."""
        return None if self.spacing_mm is None else float(np.prod(self.spacing_mm[-2:]))

    def find_padding(self) -> NDArray[np.bool_] | None:
        """Return where pixels were not measured, of the shape of `pixels`; `None` if all were."""
        return None if self.padding_value is None else self.pixels == self.padding_value

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of axes, shape, dtype, spacing and pixels: images with equal content are one case.

        Pixels are hashed in C order and little-endian, spacing as Python floats, so that the hash does not depend on
        how a file or a machine stores them.
        """
        return self._compute_hash("<")

    @property
    def may_have_earlier_hash(self) -> bool:
        """Whether earlier versions may have given it another hash; not in HU, where pixels were in native order."""
        return self.units != "HU" and self.pixels.dtype.itemsize > 1

    def adopt_content_hash(self, content_hash: str) -> "Image":
        """Return this image under the hash that earlier versions gave it; itself if the hash is of another image.

        They hashed pixels in the byte order of the file: big-endian DICOM without a rescale has such a hash in old
        projects.
        """
        if content_hash == self.content_hash or not self.may_have_earlier_hash or content_hash != self._big_endian_hash:
            return self
        same = replace(self)
        same.__dict__["content_hash"] = content_hash
        return same

    @cached_property
    def _big_endian_hash(self) -> str:
        return self._compute_hash(">")

    def _compute_hash(self, byte_order: Literal["<", ">"]) -> str:
        digest = hashlib.sha256()
        spacing = None if self.spacing_mm is None else [round(float(value), 4) for value in self.spacing_mm]
        dtype = self.pixels.dtype.newbyteorder(byte_order)
        digest.update(f"{self.axes}|{self.pixels.shape}|{dtype.str}|{spacing}".encode())
        digest.update(np.ascontiguousarray(self.pixels, dtype=dtype).data)
        return digest.hexdigest()

    def has_same_grid(self, other: "Image") -> bool:
        """Whether both images have the same shape, and the same spacing and affine where both are known."""
        if self.spatial_axes != other.spatial_axes or self.spatial_shape != other.spatial_shape:
            return False
        for mine, theirs in ((self.spacing_mm, other.spacing_mm), (self.affine, other.affine)):
            if mine is not None and theirs is not None and not np.allclose(mine, theirs, atol=GRID_TOLERANCE_MM):
                return False
        return True

    def give_name(self, name: str, group: str) -> "Image":
        """Return this image under another name and group; its hash is not computed again."""
        same = replace(self, name=name, group=group)
        same.__dict__.update({key: value for key, value in self.__dict__.items() if key.endswith("content_hash")})
        return same

    def replace_pixels(self, pixels: NDArray[Any]) -> "Image":
        """Return an image with other pixels on the same grid."""
        return replace(self, pixels=pixels)


def cast_compact(values: NDArray[Any], convert: Conversion | None = None) -> NDArray[Any]:
    """Convert integer values to int16 if they fit, else int32; other values to float32. The shape is kept.

    Parameters
    ----------
    values
        Any real numbers.
    convert
        What to apply to them first, to one slab after the other; its result may have another type.

    Returns
    -------
    NDArray
        `values` itself if its type is right already.
    """
    dtype = _find_compact_type(values, convert)
    if dtype == values.dtype and convert is None:
        return values
    compact = np.empty_like(values, dtype=dtype, subok=False)
    for slab in iterate_slabs(values):
        compact[slab] = values[slab] if convert is None else convert(values[slab])
    return compact


def _find_compact_type(values: NDArray[Any], convert: Conversion | None) -> type[np.generic]:
    low, high = np.inf, -np.inf
    for index in iterate_slabs(values):
        slab = values[index] if convert is None else convert(values[index])
        if slab.dtype.kind == "f" and not (np.isfinite(slab).all() and np.array_equal(slab, np.rint(slab))):
            return np.float32
        low, high = min(low, slab.min()), max(high, slab.max())
    limits = ((kind, np.iinfo(kind)) for kind in (np.int16, np.int32))
    return next((kind for kind, limit in limits if limit.min <= low <= high <= limit.max), np.float32)


def cast_native(values: NDArray[Any]) -> NDArray[Any]:
    """Convert to the native byte order: 64-bit integers to 16 or 32 bits, all floats to float32, bool to 0 and 255.

    Float32 keeps seven digits, which is more than the precision of any scanner. Values that need no conversion are
    returned as they are, not copied.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f":
        return values.astype(np.float32, copy=False)
    if values.dtype.itemsize == 8 and values.dtype.kind in "iu":
        return cast_compact(values)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def select_measured(values: NDArray[Any], padding_value: float | None) -> NDArray[Any]:
    """Return the values without padding, for statistics; all of them if there is no padding or nothing else."""
    if padding_value is None:
        return values
    measured = values[values != padding_value]
    return measured if measured.size else values
