"""What happens to each kind of attribute when an object is shared."""

import io
from pathlib import Path

import pydicom
import pytest
from dicom_files import AXIAL, dataset, item, noise
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from napari_medseg.core.dicom_sharing.basic_profile import _read_table, choose_treatment
from napari_medseg.core.dicom_sharing.deidentify import deidentify, list_pixel_warnings, read_whole, write_shared
from napari_medseg.core.dicom_sharing.pseudonyms import Pseudonyms

KEY = b"k" * 32


def share(source: pydicom.Dataset) -> pydicom.Dataset:
    return deidentify(source, Pseudonyms(KEY))


def make(**attributes: object) -> pydicom.Dataset:
    return dataset(noise((4, 5)), (0, 0, 0), AXIAL, **attributes)


def test_the_table_is_whole() -> None:
    table = _read_table()
    assert len(table) == 652
    for keyword, treatment in (
        ("PatientName", "empty"),
        ("SOPInstanceUID", "uid"),
        ("StudyDate", "empty"),
        ("SeriesDescription", "remove"),
        ("ReferencedImageSequence", "items"),
        ("ContentDate", "dummy"),
    ):
        assert table[pydicom.datadict.tag_for_keyword(keyword)] == treatment


def test_unlisted_names_dates_and_unknown_attributes_do_not_stay() -> None:
    source = make()
    source.add_new(0x00091001, "LO", "private")
    source.add_new(0x00081099, "LO", "no such attribute")
    source.add_new(0x50003000, "OW", b"a curve ")
    kept = {element.tag for element in share(source)}
    assert not kept & {0x00091001, 0x00081099, 0x50003000}
    unlisted = pydicom.DataElement(0x00181078, "DT", "20260101120000")  # an isotope's start, if the table lacked it
    assert choose_treatment(unlisted) in ("dummy", "remove")


def test_sequences_are_cleaned_inside_and_uids_fit_to_those_outside() -> None:
    source = make(
        SourceImageSequence=item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.9.1"),
        AnatomicRegionSequence=item(CodeValue="39607008", CodingSchemeDesignator="SCT", CodeMeaning="Lung"),
    )
    source.AnatomicRegionSequence[0].PatientName = "Erika"
    source.AnatomicRegionSequence[0].AcquisitionDateTime = "20260101120000"
    shared = share(source)
    (reference,) = shared.SourceImageSequence
    assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert reference.ReferencedSOPInstanceUID == Pseudonyms(KEY).replace_uid("1.2.9.1")
    (region,) = shared.AnatomicRegionSequence
    assert region.CodeMeaning == "Lung"
    assert not region.PatientName
    assert region.AcquisitionDateTime == "19000101000000"


def test_pseudonyms_depend_on_the_key_alone() -> None:
    one, other = Pseudonyms(KEY), Pseudonyms(b"another")
    assert one.replace_uid("1.2.3") == Pseudonyms(KEY).replace_uid("1.2.3") != other.replace_uid("1.2.3")
    assert one.replace_uids(["1.2.3", "1.2.4"])[0] == one.replace_uid("1.2.3")
    assert one.name_patient("a") != one.name_patient("b")
    assert one.replace_uid("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert "1.2.3" in one.uids.values()
    assert max(len(one.replace_uid(f"1.2.{n}")) for n in range(200)) <= 64


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_the_encoding_of_the_file_stays(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    source = make(PatientName="Erika", PixelRepresentation=0)
    source.file_meta.TransferSyntaxUID = syntax
    source.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    shared = share(read_whole(tmp_path / "a.dcm"))
    write_shared(tmp_path / "b.dcm", shared)
    again = pydicom.dcmread(tmp_path / "b.dcm")
    assert again.file_meta.TransferSyntaxUID == syntax
    assert again.PixelData == source.PixelData
    assert (tmp_path / "b.dcm").read_bytes()[:128] == bytes(128)


def test_a_file_without_meta_header_is_shared_with_one(tmp_path: Path) -> None:
    source, text = make(PatientName="Erika"), io.BytesIO()
    del source.file_meta
    pydicom.dcmwrite(text, source, implicit_vr=True, little_endian=True)
    (tmp_path / "a").write_bytes(text.getvalue())
    write_shared(tmp_path / "b.dcm", share(read_whole(tmp_path / "a")))
    assert pydicom.dcmread(tmp_path / "b.dcm").file_meta.TransferSyntaxUID == ImplicitVRLittleEndian


def test_pixels_that_may_name_someone_are_told() -> None:
    assert not list_pixel_warnings(make(BodyPartExamined="CHEST"))
    assert "burnt" in list_pixel_warnings(make(BurnedInAnnotation="YES"))[0]
    assert "burnt" in list_pixel_warnings(make(Modality="US"))[0]
    assert not list_pixel_warnings(make(Modality="US", BurnedInAnnotation="NO"))
    assert "face" in list_pixel_warnings(make(BodyPartExamined="HEAD"))[0]
