"""What the files of an image are named after. No name of a patient unasked.

A case of a project is named after its number, and its file only if the user asks for that. An image without a project
is named after its file, and a DICOM series after a label of its patient.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from napari_medseg.core.containers.inner_files import open_inner_files
from napari_medseg.core.containers.part_paths import exists, get_whole_path
from napari_medseg.core.dicom.identity import SeriesIdentity, read_series_identity
from napari_medseg.core.errors import look_up
from napari_medseg.core.file_names import (
    NAMINGS,
    Naming,
    make_case_stem,
    make_file_stem,
    make_group_label,
    make_series_stem,
    read_or_make_key,
)
from napari_medseg.core.formats.discovery import DICOM_SUFFIXES, NON_DICOM_SUFFIXES, get_suffix
from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.slides.open_slide import SLIDE_SUFFIXES
from napari_medseg.core.video.frame_paths import parse_frame_path
from napari_medseg.core.video.video_files import VIDEO_SUFFIXES


@dataclass(frozen=True)
class ImageName:
    """The first part of the names of an image's files, and the names of case and group for tables."""

    stem: str
    case: str
    group: str


@dataclass(frozen=True)
class ImageNamer:
    """Names images by one rule.

    Parameters
    ----------
    naming
        What files are named after.
    key
        The user's key for labels of DICOM patients; by default labels differ from call to call.
    """

    naming: Naming = "stem"
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def make_name(self, image: Image) -> ImageName:
        """Return the name of an image.

        A group that comes from a DICOM header (PatientID or name) becomes a label; one that a person chose is kept.

        Raises
        ------
        MedSegError
            If a DICOM file is damaged.
        """
        if not is_dicom_image(image):
            own = make_file_stem(_get_file_stem(image) if image.sources else image.name)
            stem = own if self.naming == "stem" or not image.group else make_file_stem(image.group)
            return ImageName(stem, image.name or own, image.group)
        identity = _read_identity(image)
        group = image.group
        if self.naming == "patient":
            group = identity.patient_id or self._make_label(image)
        elif not group or identity.names(group):
            group = self._make_label(image)
        series = make_file_stem(make_series_stem(group, identity.series_number), "series")
        if self.naming == "stem" and len(image.sources) == 1:
            series = make_file_stem(_get_file_stem(image))
        return ImageName(series, series, group)

    def make_case_name(self, image: Image, case: Case) -> ImageName:
        """Return the name of a case of a project. Only its files can be named after an identity, and only on request.

        Raises
        ------
        MedSegError
            If a DICOM file is damaged.
        """
        own = make_case_stem(get_group_label(case.group), case.id)
        if self.naming == "patient" and is_dicom_image(image):
            identity = _read_identity(image)
            if identity.patient_id:
                own = make_file_stem(make_series_stem(identity.patient_id, identity.series_number), "series")
        elif self.naming == "stem" and len(image.sources) == 1:
            own = make_file_stem(_get_file_stem(image))
        elif self.naming == "stem" and not image.sources:
            own = make_file_stem(case.file_name)
        return ImageName(own, case.name, case.group)

    def _make_label(self, image: Image) -> str:
        return make_group_label(image.group or image.series or image.content_hash, self.key)


def make_namer(naming: str, key_folder: Path) -> ImageNamer:
    """Return the namer for a choice of the user; the key for group labels is read from, or made in, a folder.

    Raises
    ------
    MedSegError
        If there is no such choice, or the key can be neither read nor written.
    """
    chosen = look_up({name: name for name in NAMINGS}, naming, problem=f"files cannot be named after {naming!r}")
    return ImageNamer(chosen, read_or_make_key(key_folder))


def is_dicom_image(image: Image) -> bool:
    """Whether an image was read from DICOM."""
    if image.series or not image.sources:
        return bool(image.series)
    return get_suffix(image.sources[0]) not in {*NON_DICOM_SUFFIXES, *VIDEO_SUFFIXES, *SLIDE_SUFFIXES}


def _get_file_stem(image: Image) -> str:
    path = image.sources[0]
    if (frames := parse_frame_path(path)) is not None:
        return frames.stem
    suffix = get_suffix(path)
    return path.name[: -len(suffix)] if suffix in (*NON_DICOM_SUFFIXES, *DICOM_SUFFIXES, *SLIDE_SUFFIXES) else path.name


def _read_identity(image: Image) -> SeriesIdentity:
    if image.sources and exists(image.sources[0]):
        with open_inner_files([get_whole_path(image.sources[0])]) as files:
            return read_series_identity(files[0])
    return SeriesIdentity("", "", (image.group,))  # nothing says that the group is no identity
