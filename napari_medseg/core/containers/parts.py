"""The images in one file or series: volumes, DICOM phases, arrays, fields of slides, frames of videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core.containers.array_layout import ArrayHeader, ArrayLayout, parse_array_part
from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.containers.part_paths import make_part_path, parse_part_name
from napari_medseg.core.containers.several_volumes import VOLUME
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.headers import DicomHeader, read_header
from napari_medseg.core.dicom.series import PHASE, split_frames, split_phases
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image


@dataclass(frozen=True)
class VolumeReader:
    """What lists the titles of the volumes of a file, and reads one of them by its number, from 1 on."""

    list_titles: Callable[[Path], Sequence[str]]
    read: Callable[[Path, int], Image]


def find_volume_reader(path: Path) -> VolumeReader:
    """Return what reads the volumes of a file that may hold several: MetaImage, NRRD, TIFF, else NIfTI."""
    from napari_medseg.core.formats import discovery

    suffix = discovery.get_suffix(path)
    if suffix in discovery.METAIMAGE_SUFFIXES:
        from napari_medseg.core.volumes.metaimage import list_metaimage_volumes, read_metaimage

        return VolumeReader(list_metaimage_volumes, read_metaimage)
    if suffix in discovery.NRRD_SUFFIXES:
        from napari_medseg.core.volumes.nrrd import list_nrrd_volumes, read_nrrd

        return VolumeReader(list_nrrd_volumes, read_nrrd)
    if suffix in (*discovery.TIFF_SUFFIXES, *discovery.TIFF_VARIANT_SUFFIXES):
        from napari_medseg.core.formats.tiff import list_tiff_volumes, read_tiff_volume

        return VolumeReader(list_tiff_volumes, read_tiff_volume)
    from napari_medseg.core.nifti.reader import list_volumes, read_nifti

    return VolumeReader(list_volumes, lambda file, number: read_nifti(file, volume=number))


def list_parts(path: Path, list_titles: Callable[[Path], Sequence[str]], what: str) -> list[ImageSource]:
    """Return the images of a file: its parts, or the file itself if it has none or is damaged.

    Parameters
    ----------
    path
        The file.
    list_titles
        Returns the titles of its parts; it may raise `MedSegError`.
    what
        What a part is called, such as ``"volume"``.
    """
    try:
        titles = list_titles(path)
    except MedSegError:
        titles = ()  # reading it says what is wrong
    if not titles:
        return [ImageSource(path.name, (path,))]
    return [
        ImageSource(
            f"{path.name} {title}", (make_part_path(path, what, number),), files=(path,), whole=path.name, part=title
        )
        for number, title in enumerate(titles, start=1)
    ]


def list_arrays(path: Path, read_headers: Callable[[Path], Sequence[ArrayHeader]]) -> list[ImageSource]:
    """Return the arrays of a `.npy` or `.npz` file; the file itself, with the reason, if it is damaged."""
    try:
        headers = read_headers(path)
    except MedSegError as error:
        return [ImageSource(path.name, (path,), problem=str(error))]
    if len(headers) < 2:
        return [ImageSource(path.name, (path,), array=headers[0] if headers else None)]
    layouts = [ArrayLayout(array=number) for number in range(1, len(headers) + 1)]
    return [
        ImageSource(
            f"{path.name} {header.name}",
            (layout.make_part_path(path),),
            files=(path,),
            whole=path.name,
            part=f"array {header.name}",
            array=header,
            layout=layout,
        )
        for header, layout in zip(headers, layouts, strict=True)
    ]


def make_series_sources(headers: list[DicomHeader]) -> list[ImageSource]:
    """Return the images of a DICOM series: one, or one for each phase if slices of several have the same positions."""
    by_phase = split_phases(headers)
    sources = []
    for phase, members in by_phase.items():
        first = members[0]
        if len(members) == 1 and len(first.planes) > 1 and len(phases := split_frames(first)) > 1:
            sources += _make_frame_sources(first, phases)
            continue
        name = " ".join(part for part in (first.patient, first.description) if part) or first.path.parent.name
        whole = name if len(by_phase) > 1 else ""
        if whole:
            name += f" phase {phase}"
        if len(members) == 1:
            name = first.path.name
        files = tuple(header.path for header in members)
        part = f"phase {phase}" if whole else ""
        sources.append(ImageSource(name, files, first.series, tuple(members), whole=whole, part=part))
    return sources


def read_part(path: Path, inner: Path) -> Image:
    """Read a part of a file by its name, as `make_part_path` makes it.

    Raises
    ------
    MedSegError
        If the file has no such part.
    """
    from napari_medseg.core.slides.fields import parse_field_path, read_field
    from napari_medseg.core.video.frame_images import read_frames
    from napari_medseg.core.video.frame_paths import parse_frames
    from napari_medseg.core.volumes.numpy_arrays import read_numpy_array

    if (field := parse_field_path(path / inner)) is not None:
        return read_field(field)
    if (number := parse_part_name(inner, VOLUME)) is not None:
        image = find_volume_reader(path).read(path, number)
        return replace(image, name=f"{image.name} volume {number}", sources=(path / inner,))
    if (frames := parse_frames(path, inner)) is not None:
        return read_frames(frames)
    if (number := parse_part_name(inner, PHASE)) is not None:
        return _read_phase(path, inner, number)
    if (layout := parse_array_part(path, inner)) is not None:
        return replace(read_numpy_array(path, layout), sources=(path / inner,))
    raise MedSegError(f"{path.name} holds no {inner}. Open the file to see what it holds.")


def _make_frame_sources(header: DicomHeader, phases: Sequence[DicomHeader]) -> list[ImageSource]:
    path = header.path
    return [
        ImageSource(
            f"{path.name} {phase.part}",
            (make_part_path(path, PHASE, number),),
            header.series,
            (phase,),
            files=(path,),
            whole=path.name,
            part=phase.part,
        )
        for number, phase in enumerate(phases, start=1)
    ]


def _read_phase(path: Path, inner: Path, number: int) -> Image:
    from napari_medseg.core.dicom.image_reader import read_series_with_headers
    from napari_medseg.core.formats.decode_errors import translate_decode_errors

    with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
        phases = split_frames(read_header(path, file))
    if not 1 <= number <= len(phases):
        raise MedSegError(f"{path.name} has no phase {number}; it has {len(phases)}. Choose another one.")
    return replace(read_series_with_headers(phases[number - 1 : number]), sources=(path / inner,))
