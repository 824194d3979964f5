"""Which files are one image: patient, series, orientation and phase; objects without an image are named and skipped."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from dicom_files import AXIAL, ORIENTATIONS, item, noise, write_enhanced, write_series, write_slice
from pydicom import uid

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

SHAPE = (5, 9, 12)


def tilted(degrees: float) -> list[float]:
    """Axial slices, turned about the x axis."""
    angle = np.radians(degrees)
    return [1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle))]


@pytest.mark.parametrize("digits", [2, 3, 4, 6])
def test_rounded_direction_cosines_do_not_split_a_series(tmp_path: Path, digits: int) -> None:
    """12 slices 8 mm apart; their cosines fall on both sides of a rounding step."""
    for n in range(12):
        orientation = np.round(tilted(0.28 + 0.012 * (n % 2)), digits).tolist()
        write_slice(tmp_path / f"{n}.dcm", noise((4, 4), n), (0, 0, 8.0 * n), orientation=orientation)
    (source,) = formats.find_images(tmp_path)
    image = formats.read_source(source)
    assert image.pixels.shape == (12, 4, 4)
    assert image.spacing_mm[0] == pytest.approx(8, abs=0.01)


@pytest.mark.parametrize("step", [0.0005, 0.004, 0.006, 0.01])
def test_noise_of_direction_cosines_does_not_split_a_series(tmp_path: Path, step: float) -> None:
    for n in range(12):
        orientation = [1, 0, 0, 0, 1, step * (n % 2)]
        write_slice(tmp_path / f"{n}.dcm", noise((4, 4), n), (0, 0, 8.0 * n), orientation=orientation)
    assert formats.read(tmp_path).pixels.shape == (12, 4, 4)


def test_directions_written_with_two_decimals_are_made_exact(tmp_path: Path) -> None:
    orientation = (0.71, 0.71, 0, -0.71, 0.71, 0)
    image = formats.read(write_slice(tmp_path / "a.dcm", noise((4, 4)), orientation=orientation))
    assert image.spacing_mm == pytest.approx((0.8, 0.7))
    lengths = np.linalg.norm(image.affine[:3, 1:3], axis=0)
    assert sorted(lengths) == pytest.approx([0.7, 0.8])


def test_two_orientations_of_one_series_are_two_images(tmp_path: Path) -> None:
    write_series(tmp_path / "a", noise(SHAPE))
    write_series(tmp_path / "b", noise(SHAPE, 1), tilted(10))
    assert [len(source.paths) for source in formats.find_images(tmp_path)] == [5, 5]


def test_two_patients_with_one_series_uid_are_two_images(tmp_path: Path) -> None:
    write_series(tmp_path / "a", noise(SHAPE), PatientID="A")
    write_series(tmp_path / "b", noise(SHAPE, 1), PatientID="B", step=(0, 0, 3))
    images = [formats.read_source(source) for source in formats.find_images(tmp_path)]
    assert [(image.group, image.pixels.shape) for image in images] == [("A", SHAPE), ("B", SHAPE)]
    with pytest.raises(MedSegError, match="several series"):
        formats.read_series(sorted(tmp_path.rglob("*.dcm")))


def test_two_patients_without_an_id_differ_by_name(tmp_path: Path) -> None:
    for name in ("Roe^Ann", "Doe^Jo"):
        write_series(tmp_path / name, noise(SHAPE), PatientID="", PatientName=name)
    assert len(formats.find_images(tmp_path)) == 2


def test_two_scouts_of_a_ct_are_not_a_volume(tmp_path: Path) -> None:
    write_series(tmp_path, noise(SHAPE))
    for n in range(2):
        write_slice(
            tmp_path / f"scout{n}.dcm",
            noise(SHAPE[1:]),
            (0, 50.0 * n, 0),
            orientation=ORIENTATIONS["coronal"],
            ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        )
    assert sorted(len(source.paths) for source in formats.find_images(tmp_path)) == [1, 1, 5]


def test_axial_localizer_is_not_a_slice_of_the_series(tmp_path: Path) -> None:
    write_series(tmp_path, noise(SHAPE))
    write_slice(
        tmp_path / "l.dcm", noise(SHAPE[1:]), (-31.5, 12.25, 112.5), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    assert sorted(len(source.paths) for source in formats.find_images(tmp_path)) == [1, 5]


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("ImageType", (["ORIGINAL", "PRIMARY", "M_FFE"], ["ORIGINAL", "PRIMARY", "PHASE MAP"])),
        ("DiffusionBValue", (0.0, 800.0)),
        ("TriggerTime", (10.0, 400.0)),
        ("NominalPercentageOfCardiacPhase", (30.0, 70.0)),
        ("EchoNumbers", (1, 2)),
    ],
)
def test_phases_are_told_apart_by_what_differs(tmp_path: Path, keyword: str, values: tuple[Any, Any]) -> None:
    for n, value in enumerate(values):
        # The table moved a little between both phases, and the acquisition number counts the slices.
        for place in range(4):
            write_slice(
                tmp_path / f"{n}_{place}.dcm",
                noise((4, 4), n),
                (0, 0, 2 * place + 0.004 * n),
                Modality="MR",
                AcquisitionNumber=place,
                **{keyword: value},
            )
    assert [len(source.paths) for source in formats.find_images(tmp_path)] == [4, 4]


def test_frames_of_two_orientations_in_one_file_are_parts(tmp_path: Path) -> None:
    def turn(n: int) -> dict[str, Any]:
        place = [0, 0, 1.25 * n] if n < 2 else [0, 1.25 * n, 0]
        return {
            "PlaneOrientationSequence": item(ImageOrientationPatient=list(AXIAL if n < 2 else tilted(90))),
            "PlanePositionSequence": item(ImagePositionPatient=place),
        }

    path = write_enhanced(tmp_path / "a.dcm", noise(SHAPE), frames=turn)
    with pytest.raises(MedSegError, match="2 phases or orientations"):
        formats.read(path)
    axial, coronal = formats.find_images(path)
    assert (axial.part, coronal.part) == ("orientation 1", "orientation 2")
    assert formats.read_source(axial).pixels.shape[0] == 2
    assert formats.read(coronal.paths[0]).content_hash == formats.read_source(coronal).content_hash


def test_frames_with_pixel_spacings_of_their_own_are_refused(tmp_path: Path) -> None:
    path = write_enhanced(
        tmp_path / "a.dcm", noise(SHAPE), frames=lambda n: {"PixelMeasuresSequence": item(PixelSpacing=[1 + n, 1])}
    )
    with pytest.raises(MedSegError, match="no pixel spacing, or with different ones"):
        formats.read(path)


def test_frames_of_which_only_some_have_a_position_are_refused(tmp_path: Path) -> None:
    groups = [item(PlanePositionSequence=item(ImagePositionPatient=[0, 0, n]))[0] for n in range(4)]
    path = write_enhanced(tmp_path / "a.dcm", noise(SHAPE), PerFrameFunctionalGroupsSequence=[item()[0], *groups])
    with pytest.raises(MedSegError, match="positions of only 4 of 5 slices"):
        formats.read(path)


def test_simpleitk_places_a_series_of_rounded_directions_alike(tmp_path: Path) -> None:
    orientation = np.round(tilted(12), 3).tolist()
    write_series(tmp_path, noise(SHAPE), orientation)
    image = formats.read(tmp_path)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    other = SimpleITK.ReadImage(names)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(other), image.pixels)
    for index in ((0, 0, 0), (4, 8, 11)):
        place_mm = other.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose((image.affine @ [*index, 1])[:3] * [-1, -1, 1], place_mm, atol=0.02)


WITHOUT_IMAGE = {
    "SEG": uid.SegmentationStorage,
    "RTDOSE": uid.RTDoseStorage,
    "RTSTRUCT": uid.RTStructureSetStorage,
    "RTPLAN": uid.RTPlanStorage,
    "PR": uid.GrayscaleSoftcopyPresentationStateStorage,
    "SR": uid.BasicTextSRStorage,
    "KO": uid.KeyObjectSelectionDocumentStorage,
    "DOC": uid.EncapsulatedPDFStorage,
    "OT": uid.ParametricMapStorage,
    "REG": uid.SpatialRegistrationStorage,
    "RWV": uid.RealWorldValueMappingStorage,
    "MR": uid.RawDataStorage,
    "": uid.ColorSoftcopyPresentationStateStorage,
}


@pytest.mark.parametrize("with_pixels", [True, False], ids=["with pixels", "without pixels"])
def test_objects_without_an_image_are_skipped_in_folders_and_named(tmp_path: Path, with_pixels: bool) -> None:
    write_series(tmp_path / "study", noise(SHAPE))
    bare = {} if with_pixels else dict.fromkeys(("Rows", "Columns", "PixelData"))
    files = [
        write_slice(
            tmp_path / "study" / f"x{n}.dcm", noise(SHAPE[1:]), (0, 0, n), Modality=word, SOPClassUID=sop, **bare
        )
        for n, (word, sop) in enumerate(WITHOUT_IMAGE.items())
    ]
    found = formats.search_images(tmp_path / "study")
    assert len(found.sources) == 1
    assert {each.name for each in found.skipped} == {path.name for path in files}
    assert "x0.dcm (SEG): Segmentation Storage" in found.note
    assert formats.read(tmp_path / "study").pixels.shape == SHAPE
    for path, sop in zip(files, WITHOUT_IMAGE.values(), strict=True):
        with pytest.raises(MedSegError, match=f"DICOM without an image.*{uid.UID(sop).name}"):
            formats.read(path)


@pytest.mark.parametrize("word", ["SEG", "RTDOSE", "PR"])
def test_the_modality_names_an_object_whose_sop_class_is_unknown(tmp_path: Path, word: str) -> None:
    for sop in ("1.2.3.4", uid.SecondaryCaptureImageStorage):
        path = write_slice(tmp_path / "a.dcm", noise((4, 4)), Modality=word, SOPClassUID=sop)
        with pytest.raises(MedSegError, match=rf"without an image \({word}\)"):
            formats.read(path)


def test_a_sop_class_that_is_newer_than_the_dictionary_is_known_by_its_branch(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", noise((4, 4)), SOPClassUID="1.2.840.10008.5.1.4.1.1.66.99")
    with pytest.raises(MedSegError, match="segmentation"):
        formats.read(path)


def test_a_folder_of_segmentations_says_so(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", noise((4, 4)), Modality="SEG", SOPClassUID=uid.SegmentationStorage)
    with pytest.raises(MedSegError, match=r"holds no image.*a\.dcm \(SEG\)"):
        formats.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "view"),
    [
        ({"ViewPosition": "PA"}, "frontal"),
        ({"ViewPosition": "AP"}, "frontal"),
        ({"ViewPosition": "LL"}, "lateral"),
        ({"ViewPosition": "RL"}, "lateral"),
        ({"ViewPosition": "LATERAL"}, "lateral"),
        ({"ViewPosition": "LLD"}, "decubitus"),
        ({"ViewPosition": "RAO"}, "oblique"),
        ({"ViewCodeSequence": item(CodeMeaning="left lateral")}, "lateral"),
        ({"ViewCodeSequence": item(CodeMeaning="postero-anterior")}, "frontal"),
        ({"ViewCodeSequence": item(CodeMeaning="left lateral decubitus")}, "decubitus"),
        ({"PatientOrientation": ["A", "F"]}, "lateral"),
        ({"PatientOrientation": ["P", "F"]}, "lateral"),
        ({"PatientOrientation": ["L", "F"]}, ""),
        ({"SeriesDescription": "CHEST LAT"}, "lateral"),
        ({"SeriesDescription": "Chest PA and lateral"}, ""),
        ({"SeriesDescription": "Chest", "ViewPosition": ""}, ""),
        ({"ViewPosition": "PA", "SeriesDescription": "lateral"}, "frontal"),
    ],
)
def test_view_of_a_film(tmp_path: Path, changes: dict[str, Any], view: str) -> None:
    film = {"Modality": "DX", "SOPClassUID": uid.DigitalXRayImageStorageForPresentation, "SeriesDescription": ""}
    image = formats.read(write_slice(tmp_path / "a.dcm", noise((4, 4)), None, **film | changes))
    assert image.acquisition.view == view


def test_body_part_comes_from_its_text_or_its_code(tmp_path: Path) -> None:
    image = formats.read(write_slice(tmp_path / "a.dcm", noise((4, 4)), BodyPartExamined="KNEE"))
    assert image.acquisition.body_part == "KNEE"
    code = item(CodeMeaning="Knee joint")
    image = formats.read(write_slice(tmp_path / "a.dcm", noise((4, 4)), AnatomicRegionSequence=code))
    assert image.acquisition.body_part == "Knee joint"
