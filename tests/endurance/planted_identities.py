"""Files with planted identities in every place that a format has for text, and a search for them in all bytes written.

Every planted value holds one of `MARKS`. A file is searched as it is and inflated (gzip, zip, TIFF, PNG); a database
table by table, without `identities`, and then in the raw bytes of a copy that this table was erased from.
"""

import gzip
import io
import os
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import tifffile
from dicom_files import AXIAL, dataset, item
from PIL import Image as Picture
from PIL.PngImagePlugin import PngInfo
from pydicom import Dataset

MARKS = ("zqname", "zqpid", "zqtext", "zqfile", "zqfolder", "1.2.777.", "19470313", "031415.926")
"""Of names, ids, free texts, file and folder names, UIDs, dates and times; searched without regard to case."""
NAME, PID, TEXT = "ZQNAME^Erika", "ZQPID4711", "ZQTEXT of Erika"
FOLDER = "ZQFOLDER Erika"
_OF_FILES = ("zqfile", "zqfolder")
_NAMES = """PatientName ReferringPhysicianName OperatorsName PerformingPhysicianName NameOfPhysiciansReadingStudy
RequestingPhysician PhysiciansOfRecord OtherPatientNames PatientMotherBirthName ResponsiblePerson PatientBirthName"""
_IDS = """PatientID OtherPatientIDs AccessionNumber StudyID AdmissionID DeviceSerialNumber IssuerOfPatientID
MilitaryRank StationName RequestedProcedureID ScheduledProcedureStepID FillerOrderNumberImagingServiceRequest"""
_TEXTS = """StudyDescription SeriesDescription ProtocolName ImageComments PatientComments InstitutionName
InstitutionAddress PatientAddress DerivationDescription AdditionalPatientHistory Occupation Allergies
RequestedProcedureDescription PerformedProcedureStepDescription CommentsOnThePerformedProcedureStep Manufacturer
ManufacturerModelName SoftwareVersions ContrastBolusAgent InstitutionalDepartmentName PatientTelephoneNumbers"""
_DATES = """StudyDate SeriesDate AcquisitionDate ContentDate PatientBirthDate InstanceCreationDate AdmittingDate
PerformedProcedureStepStartDate DateOfLastCalibration"""
_TIMES = "StudyTime SeriesTime AcquisitionTime ContentTime PatientBirthTime InstanceCreationTime"
_UIDS = "StudyInstanceUID SeriesInstanceUID SOPInstanceUID FrameOfReferenceUID DeviceUID StorageMediaFileSetUID"


def plant_series(folder: Path, n_slices: int = 3) -> Path:
    """Write a CT series whose every tag that may identify a patient does; return its folder."""
    folder.mkdir(parents=True)
    for number in range(n_slices):
        pixels = (_lungs(number, hu=True) + 1024).astype(np.int16)
        slice_ = dataset(pixels, (0, 0, 5 * number), AXIAL)
        _plant_tags(slice_, number)
        slice_.save_as(folder / f"ZQFILE_{number}.dcm", enforce_file_format=True)
        content = (folder / f"ZQFILE_{number}.dcm").read_bytes()
        (folder / f"ZQFILE_{number}.dcm").write_bytes(b"ZQNAME in the preamble".ljust(128, b"\0") + content[128:])
    return folder


def _plant_tags(slice_: Dataset, number: int) -> None:
    for keywords, value in ((_NAMES, NAME), (_IDS, PID), (_TEXTS, TEXT), (_DATES, "19470313"), (_TIMES, "031415.926")):
        for keyword in keywords.split():
            setattr(slice_, keyword, value)
    for keyword in _UIDS.split():
        setattr(slice_, keyword, f"1.2.777.{number if keyword.startswith('SOP') else 9}")
    slice_.BodyPartExamined = "CHEST ZQTEXT"
    slice_.AcquisitionDateTime = "19470313031415.926"
    slice_.AnatomicRegionSequence = item(CodeValue="T-D3000", CodeMeaning=TEXT)
    slice_.RequestAttributesSequence = item(RequestedProcedureDescription=TEXT, RequestedProcedureID=PID)
    slice_.OtherPatientIDsSequence = item(PatientID=PID, IssuerOfPatientID=PID)
    slice_.OriginalAttributesSequence = item(ModifyingSystem=TEXT, ModifiedAttributesSequence=item(PatientName=NAME))
    slice_.ReferencedStudySequence = item(ReferencedSOPInstanceUID="1.2.777.5")
    private = slice_.private_block(0x0011, "ZQTEXT MAKER", create=True)
    private.add_new(0x01, "LO", TEXT)
    private.add_new(0x02, "UN", b"ZQNAME in bytes")
    slice_.add_new(0x60000010, "US", pixels_side := slice_.Rows)
    slice_.add_new(0x60000011, "US", slice_.Columns)
    slice_.add_new(0x60000040, "CS", "G")
    slice_.add_new(0x60000050, "SS", [1, 1])
    slice_.add_new(0x60000100, "US", 1)
    slice_.add_new(0x60000102, "US", 0)
    slice_.add_new(0x60001500, "LO", TEXT)
    slice_.add_new(0x60004000, "LT", TEXT)
    slice_.add_new(0x60003000, "OW", b"ZQNAME in an overlay".ljust(pixels_side * slice_.Columns // 8, b"\0"))
    slice_.add_new(0xFFFCFFFC, "OB", b"ZQNAME in the padding ")
    slice_.file_meta.ImplementationVersionName = "ZQTEXT"
    slice_.file_meta.SourceApplicationEntityTitle = "ZQPID AE"
    slice_.file_meta.PrivateInformationCreatorUID = "1.2.777.6"
    slice_.file_meta.PrivateInformation = b"ZQNAME in the file meta "


def plant_pictures(folder: Path) -> list[Path]:
    """Write a NIfTI volume, a TIFF, a PNG and a JPEG with identities in their texts and names."""
    folder.mkdir(parents=True)
    return [_plant_nifti(folder), _plant_tiff(folder), _plant_png(folder), _plant_jpeg(folder)]


def _plant_nifti(folder: Path) -> Path:
    volume = np.stack([_lungs(10 + n, hu=True).T for n in range(3)], axis=-1).astype(np.int16)
    image = nib.Nifti1Image(volume, np.diag([-0.7, -0.7, 5.0, 1.0]))
    image.header["descrip"] = image.header["aux_file"] = b"ZQNAME Erika"
    image.header["db_name"] = image.header["intent_name"] = b"ZQPID4711"
    image.header["data_type"] = b"ZQTEXT"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"ZQTEXT in an extension"))
    nib.save(image, folder / "ZQFILE_volume.nii.gz")
    return folder / "ZQFILE_volume.nii.gz"


def _plant_tiff(folder: Path) -> Path:
    path = folder / "ZQFILE_a.tif"
    tags = [(315, "s", 0, NAME, True), (33432, "s", 0, TEXT, True), (269, "s", 0, PID, True)]
    tifffile.imwrite(
        path, _lungs(20), description=TEXT, software=TEXT, datetime="1947:03:13 03:14:15", extratags=tags, metadata=None
    )
    return path


def _plant_png(folder: Path) -> Path:
    path, texts, exif = folder / "ZQFILE_b.png", PngInfo(), Picture.Exif()
    texts.add_text("Author", NAME)
    texts.add_text("Comment", TEXT, zip=True)
    texts.add_itxt("Description", TEXT, zip=True)
    exif[0x010E], exif[0x013B] = TEXT, NAME
    Picture.fromarray(_lungs(21)).save(path, pnginfo=texts, exif=exif)
    return path


def _plant_jpeg(folder: Path) -> Path:
    path, exif = folder / "ZQFILE_c.jpg", Picture.Exif()
    exif[0x010E], exif[0x013B], exif[0x9286] = TEXT, NAME, TEXT
    Picture.fromarray(_lungs(22)).save(path, exif=exif, comment=TEXT.encode(), quality=95)
    return path


def _lungs(number: int, *, hu: bool = False) -> np.ndarray:
    """A grey picture with two dark lungs, (48, 64)."""
    pixels = np.random.default_rng(number).integers(150, 200, (48, 64))
    for left in (6, 38):
        pixels[10:38, left : left + 20] -= 120
    return pixels * 8 - 1200 if hu else pixels.astype(np.uint8)


def find_identities(folder: Path, *, named_after_files: bool = False) -> list[str]:
    """Return where identities stand in the names and bytes of all files under a folder.

    With `named_after_files`, names of files and folders do not count: the user asked for them.
    """
    marks = [mark for mark in MARKS if not (named_after_files and mark in _OF_FILES)]
    found = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        contents = [os.fsencode(place), *(_read_contents(path) if path.is_file() else ())]
        found += [f"{place}: {mark}" for mark in marks if any(_holds(content, mark) for content in contents)]
    return found


def find_in_text(text: str) -> list[str]:
    """Return the marks in a text."""
    return [mark for mark in MARKS if mark in text.casefold()]


def _holds(content: bytes, mark: str) -> bool:
    lower = content.lower()
    return any(mark.encode(encoding) in lower for encoding in ("utf-8", "utf-16-le", "utf-16-be"))


def _read_contents(path: Path) -> Iterator[bytes]:
    if path.name.startswith("project.sqlite"):
        yield from _read_database(path) if path.suffix == ".sqlite" else ()
        return
    content = path.read_bytes()
    yield content
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            yield from (archive.read(name) for name in archive.namelist())
    elif path.suffix == ".png":
        with Picture.open(path) as picture:
            yield repr((picture.info, dict(picture.getexif()))).encode()
    elif path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            yield from (page.asarray().tobytes() for page in tiff.pages)
            yield repr([[tag.value for tag in page.tags] for page in tiff.pages]).encode()


def _read_database(path: Path) -> Iterator[bytes]:
    """Yield all rows but those of `identities`, then the raw bytes of a copy that has no such rows."""
    erased = sqlite3.connect(":memory:")
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as source:
        source.backup(erased)
    source.close()
    tables = [name for (name,) in erased.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    assert "identities" in tables
    for table in tables:
        if table != "identities":
            yield repr(erased.execute(f'SELECT * FROM "{table}"').fetchall()).encode()
    erased.execute("PRAGMA secure_delete = ON")
    erased.execute("DELETE FROM identities")
    erased.commit()
    yield erased.serialize()
    erased.close()
