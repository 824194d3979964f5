"""DICOM slices and series: sorted by position along the slice normal, in HU, with affine, in radiological order."""

from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.containers.part_paths import SeveralImagesError, make_part_path
from napari_medseg.core.decoded_size.limit import refuse_above_limit
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.frame_size import compute_pixel_bytes
from napari_medseg.core.dicom.headers import DicomHeader, read_header
from napari_medseg.core.dicom.pixels import DecodedFile, DecodedPlane, decode_file
from napari_medseg.core.dicom.series import PHASE, group_by_series, split_frames
from napari_medseg.core.dicom.stack_geometry import (
    compute_affine,
    get_plane_spacing,
    make_projection_storage,
    measure_unevenness,
    sort_planes,
)
from napari_medseg.core.dicom.voxel_values import FileDecoder, PlaneMaker, combine_planes
from napari_medseg.core.errors import IrregularSlicesError, MedSegError
from napari_medseg.core.formats.decode_errors import refuse_unusable, translate_decode_errors
from napari_medseg.core.formats.discovery import DICOM_SUFFIXES, get_suffix
from napari_medseg.core.formats.orientation import (
    CanonicalGeometry,
    compute_canonical_geometry,
    compute_shear_degrees,
    reorient_own_pixels,
)
from napari_medseg.core.image import Image

_SHEAR_NOTE_DEGREES = 0.5


def read_dicom(path: Path) -> Image:
    """Read one DICOM file: a slice, a projection, or all frames of an enhanced file.

    Raises
    ------
    MedSegError
        If it is damaged, holds no image, or its frames do not form a volume.
    """
    return read_series([path])


def read_series(paths: Sequence[Path]) -> Image:
    """Read the slices of one series into a volume.

    Parameters
    ----------
    paths
        Files in any order; slices are sorted by their positions.

    Raises
    ------
    MedSegError
        If no file is given, if the files belong to several series or would take too much memory together, or if slices
        have the same position.
    IrregularSlicesError
        If slices are missing or unevenly spaced. They do not form a volume, but each slice can be opened alone.
    """
    if not paths:
        raise MedSegError("no DICOM files were given; choose the files or the folder of one series.")
    size = _SeriesSize()
    headers: list[DicomHeader] = []
    decoded: dict[Path, PlaneMaker] = {}
    for path in dict.fromkeys(paths):
        with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
            header = read_header(path, file)
            size.add(header)
            size.refuse_above_limit(is_exact=False)
            decoded[path] = _make_planes_readable(decode_file(header, file))
        headers.append(header)
    return _build_series(headers, decoded.pop)


def read_series_with_headers(headers: Sequence[DicomHeader]) -> Image:
    """Read the slices of one series whose headers were read before: only the pixels of each file are read.

    Raises
    ------
    MedSegError
        As `read_series`, or if a file changed since its header was read.
    """
    size = _SeriesSize()
    for header in headers:
        size.add(header)
    size.refuse_above_limit(is_exact=True)
    header_of = {header.path: header for header in headers}

    def decode(path: Path) -> PlaneMaker:
        with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
            return _make_planes_readable(decode_file(header_of[path], file))

    return _build_series(list(headers), decode)


class _SeriesSize:
    """What the files of a series take together."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._pixel_bytes = self._disk_bytes = 0

    def add(self, header: DicomHeader) -> None:
        """Count a file."""
        self._names.append(header.path.name)
        self._pixel_bytes += compute_pixel_bytes(header.encoding.attributes)
        self._disk_bytes += header.encoding.file_version[0]

    def refuse_above_limit(self, *, is_exact: bool) -> None:
        """Raise `MedSegError` if the files would take too much memory; `is_exact`: they are the whole series."""
        n = len(self._names)
        name = self._names[0] if n == 1 else f"{self._names[0]} with {n - 1} more files of its series"
        refuse_above_limit(self._pixel_bytes, self._disk_bytes, name, is_exact=is_exact or n == 1)


def _make_planes_readable(decoded: DecodedFile) -> PlaneMaker:
    def compute_plane(frame: int) -> DecodedPlane:
        with translate_decode_errors(decoded.header.path, "DICOM"):
            return decoded.compute_plane(frame)

    return compute_plane


def _build_series(headers: list[DicomHeader], decode: FileDecoder) -> Image:
    first = headers[0]
    if len(headers) == 1:
        name = first.path.stem if get_suffix(first.path) in DICOM_SUFFIXES else first.path.name
        if not first.part and len(phases := split_frames(first)) > 1:
            example = make_part_path(first.path, PHASE, 1)
            raise SeveralImagesError(first.path, len(phases), "phases or orientations", "", example)
        return _build_image(headers, f"{name} {first.part}" if first.part else name, decode)
    if len(group_by_series(headers)) > 1:
        names = sorted({f"{header.description or 'series'} ({header.modality})" for header in headers})
        raise MedSegError(f"the files belong to several series: {', '.join(names)}. Open one series at a time.")
    name = " ".join(part for part in (first.patient, first.description) if part)
    return _build_image(_drop_duplicates(headers), name, decode)


def _drop_duplicates(headers: list[DicomHeader]) -> list[DicomHeader]:
    """Drop files that are copies of another: the same instance, saved twice."""
    seen: dict[str, DicomHeader] = {}
    for header in headers:
        seen.setdefault(header.instance or str(header.path), header)
    return list(seen.values())


def _build_image(headers: list[DicomHeader], name: str, decode: FileDecoder) -> Image:
    first = headers[0]
    places = [(header, plane) for header in headers for plane in header.planes]
    layout: CanonicalGeometry | None = None
    uneven, shift_mm = "", 0.0
    if _know_all_positions(headers, name):
        planes = [plane for _, plane in places]
        places = [places[n] for n in sort_planes(planes, name)]
        uneven, shift_mm = measure_unevenness([plane for _, plane in places])
        affine = compute_affine([plane for _, plane in places], name)
        layout = compute_canonical_geometry(
            affine, (len(places), *planes[0].shape), 0 if len(places) == 1 else None, name
        )
    values = combine_planes(places, decode, name)
    refuse_unusable(values.pixels, name)
    n_spatial = 2 if len(places) == 1 else 3
    storage = layout.storage if layout else make_projection_storage(first, n_spatial)
    return Image(
        pixels=reorient_own_pixels(values.pixels, storage),
        axes=("YX" if n_spatial == 2 else "ZYX") + ("C" if values.units == "rgb" else ""),
        spacing_mm=layout.spacing_mm if layout else get_plane_spacing([plane for _, plane in places], storage),
        affine=layout.affine if layout else None,
        modality=values.modality,
        units=values.units,
        group=first.patient,
        name=name,
        series=first.series,
        sources=tuple(dict.fromkeys(plane.path for _, plane in places)),
        storage=storage,
        notes=(*_make_geometry_notes(layout, n_spatial), *filter(None, [uneven]), *values.notes),
        acquisition=first.acquisition,
        padding_value=values.padding_value,
        slice_shift_mm=shift_mm,
    )


def _know_all_positions(headers: list[DicomHeader], name: str) -> bool:
    """Whether all planes have a position; False if a single file gives none. Raise an error for anything else."""
    known = [plane.position is not None for header in headers for plane in header.planes]
    if any(known) and not all(known):
        raise MedSegError(f"{name} gives the positions of only {sum(known)} of {len(known)} slices. Export it again.")
    if not any(known) and len(headers) > 1:
        raise IrregularSlicesError(f"{name} does not give the positions of its slices. Open them one by one.")
    return all(known)


def _make_geometry_notes(layout: CanonicalGeometry | None, n_spatial: int) -> tuple[str, ...]:
    if layout is None or n_spatial < 3 or (tilt := compute_shear_degrees(layout.affine)) <= _SHEAR_NOTE_DEGREES:
        return ()
    return (f"The slices are shifted against each other (gantry tilt of {tilt:.1f} degrees).",)
