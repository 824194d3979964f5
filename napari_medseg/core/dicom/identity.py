"""What names a DICOM series: its number, and the patient's identity, which names a file only if the user asks."""

from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.attributes import get_dicom_text
from napari_medseg.core.dicom.headers import read_attributes
from napari_medseg.core.formats.decode_errors import translate_decode_errors

_IDENTIFYING = ("PatientID", "PatientName", "StudyInstanceUID")


@dataclass(frozen=True)
class SeriesIdentity:
    """Series number and PatientID of a DICOM file (``""`` if it has none), and all texts that identify the patient."""

    series_number: str
    patient_id: str
    identifying: tuple[str, ...]

    def names(self, text: str) -> bool:
        """Whether a text is an identity of this patient."""
        return text in self.identifying


def read_series_identity(path: Path) -> SeriesIdentity:
    """Read the series number and identity of a DICOM file, without its pixels.

    Raises
    ------
    MedSegError
        If the file is missing or damaged.
    """
    with translate_decode_errors(path, "DICOM"), SizedFile(path) as file:
        dataset = read_attributes(path, file, ["SeriesNumber", *_IDENTIFYING])
        known = tuple(filter(None, (get_dicom_text(dataset, keyword) for keyword in _IDENTIFYING)))
        return SeriesIdentity(get_dicom_text(dataset, "SeriesNumber"), get_dicom_text(dataset, "PatientID"), known)
