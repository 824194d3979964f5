"""DICOM: every voxel where the patient has it, in HU, or a readable refusal."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from dicom_files import (
    AXIAL,
    ORIENTATIONS,
    SPACING,
    dataset,
    noise,
    patient_position,
    write_enhanced,
    write_series,
    write_slice,
)
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders import JPEGLSLosslessDecoder
from pydicom.uid import (
    MPEG2MPML,
    BasicTextSRStorage,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError

BRIGHT = (1, 6, 2)  # slice, row, column
SHAPE = (5, 9, 12)


def bright_index(pixels: np.ndarray) -> tuple[int, ...]:
    assert (pixels == pixels.max()).sum() == 1
    return tuple(int(i) for i in np.unravel_index(pixels.argmax(), pixels.shape))


def phantom() -> np.ndarray:
    volume = noise(SHAPE)
    volume[BRIGHT] = 3000
    return volume


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_bright_voxel_lies_where_the_patient_has_it(tmp_path: Path, name: str) -> None:
    orientation = ORIENTATIONS[name]
    step = np.cross(orientation[:3], orientation[3:]) * 2.5
    paths = write_series(tmp_path, phantom(), orientation)
    image = formats.read(tmp_path)
    index = bright_index(image.pixels)
    np.testing.assert_allclose(
        (image.affine @ [*index, 1])[:3], patient_position(paths, BRIGHT, step, orientation), atol=1e-6
    )
    # z to the head, y to the back, x to the patient's left
    for column, (ras_axis, sign) in enumerate([(2, 1), (1, -1), (0, -1)]):
        direction = image.affine[:3, column]
        assert np.abs(direction).argmax() == ras_axis
        assert np.sign(direction[ras_axis]) == sign
    assert abs(np.linalg.det(image.affine[:3, :3])) == pytest.approx(np.prod(image.spacing_mm))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_highdicom_finds_the_same_pixels_at_the_same_places(tmp_path: Path, name: str) -> None:
    words = ("PatientName", "PatientSex", "PatientBirthDate", "AccessionNumber", "StudyDate", "StudyTime", "StudyID")
    blank = dict.fromkeys((*words, "ReferringPhysicianName"), "")
    paths = write_series(tmp_path, noise(SHAPE), ORIENTATIONS[name], FrameOfReferenceUID="1.5", **blank)
    highdicom = pytest.importorskip("highdicom", reason="the extra highdicom is not installed")
    volume = highdicom.get_volume_from_series([dcmread(path) for path in paths]).to_patient_orientation("HPL")
    image = formats.read(tmp_path)
    np.testing.assert_array_equal(image.pixels, volume.array)
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ volume.affine, atol=1e-8)


def test_series_is_sorted_by_position_and_in_hu(tmp_path: Path) -> None:
    volume = noise(SHAPE)
    paths = write_series(tmp_path, volume)
    image = formats.read(tmp_path)
    np.testing.assert_array_equal(image.pixels, volume.astype(np.int16) - 1024)
    assert image.pixels.dtype == np.int16
    assert image.axes == "ZYX"
    assert image.spacing_mm == pytest.approx((2.5, *SPACING))
    assert (image.units, image.modality, image.group, image.name) == ("HU", "CT", "P7", "P7 phantom")
    assert image.sources == tuple(paths)
    assert formats.read_series(list(reversed(paths))).content_hash == image.content_hash


def test_files_in_the_order_of_the_head_come_out_the_same(tmp_path: Path) -> None:
    volume = noise(SHAPE)
    write_series(tmp_path / "down", volume[::-1], step=(0, 0, -2.5))
    write_series(tmp_path / "up", volume, step=(0, 0, 2.5))
    up, down = formats.read(tmp_path / "up"), formats.read(tmp_path / "down")
    np.testing.assert_array_equal(up.pixels, down.pixels)


def test_one_slice_is_a_plane_with_its_place(tmp_path: Path) -> None:
    pixels = noise((9, 12))
    pixels[2, 3] = 3000
    path = write_slice(tmp_path / "a_1.dcm", pixels, (-10, 20, 30))
    image = formats.read(path)
    assert image.axes == "YX"
    assert image.spacing_mm == SPACING
    assert image.name == "a_1"
    np.testing.assert_allclose((image.affine @ [0, 2, 3, 1])[:3], [10 - 3 * 0.7, -20 - 2 * 0.8, 30])


def test_prone_slice_is_turned_to_radiological_view_and_labels_go_back(tmp_path: Path) -> None:
    pixels = noise((9, 12))
    path = write_slice(tmp_path / "a.dcm", pixels, orientation=ORIENTATIONS["prone"])
    image = formats.read(path)
    np.testing.assert_array_equal(image.pixels, pixels[::-1, ::-1].astype(np.int16) - 1024)
    labels = (image.pixels > 0).astype(np.uint8)
    for suffix in (".tif", ".png", ".nii.gz"):
        target = tmp_path / f"labels{suffix}"
        formats.write_labels(target, labels, image)
        np.testing.assert_array_equal(formats.read_labels(target, image), labels)
    raw = imagecodecs.imread(tmp_path / "labels.png")
    np.testing.assert_array_equal(raw, pixels > 1024)  # voxel on voxel on the source's own rows and columns


def test_gantry_tilt_keeps_its_shear_and_is_told(tmp_path: Path) -> None:
    step = np.array([0, 0.6, 2.5])
    paths = write_series(tmp_path, phantom(), AXIAL, step)
    image = formats.read(tmp_path)
    index = bright_index(image.pixels)
    np.testing.assert_allclose(
        (image.affine @ [*index, 1])[:3], patient_position(paths, BRIGHT, step, AXIAL), atol=1e-6
    )
    assert image.spacing_mm == pytest.approx((2.5, *SPACING))
    assert "tilt of 13.5 degrees" in image.notes[0]
    labels = (image.pixels > 0).astype(np.uint8)
    formats.write_labels(tmp_path / "l.nii.gz", labels, image)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.nii.gz", image), labels)


def test_missing_slice_is_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise((6, 4, 4)))
    paths[2].unlink()
    with pytest.raises(
        MedSegError, match=rf"missing.*{paths[1].name} to {paths[3].name} the distance is 5.00 mm, elsewhere 2.50"
    ):
        formats.read(tmp_path)


def test_jitter_of_the_table_is_no_gap(tmp_path: Path) -> None:
    for n in range(6):
        write_slice(tmp_path / f"{n}.dcm", noise((4, 4), n), (0, 0, 3 * n + 0.004 * (n % 2)))
    assert formats.read(tmp_path).spacing_mm[0] == pytest.approx(3, abs=0.01)


def test_copies_of_a_slice_are_dropped(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(SHAPE))
    (tmp_path / "copy.dcm").write_bytes(paths[2].read_bytes())
    assert formats.read(tmp_path).pixels.shape == SHAPE


def test_two_different_slices_at_one_place_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path, noise(SHAPE))
    write_slice(tmp_path / "again.dcm", noise(SHAPE[1:], 9), (-31.5, 12.25, 102.5))
    with pytest.raises(MedSegError, match="more than one slice"):
        formats.read(tmp_path)


def test_phases_of_one_series_are_offered_one_by_one(tmp_path: Path) -> None:
    write_series(tmp_path / "a", noise(SHAPE, 1), AcquisitionNumber=1)
    write_series(tmp_path / "b", noise(SHAPE, 2), AcquisitionNumber=2)
    sources = formats.find_images(tmp_path)
    assert [len(source.paths) for source in sources] == [5, 5]
    assert formats.read_source(sources[1]).pixels[0, 0, 0] == noise(SHAPE, 2)[0, 0, 0] - 1024.0


def test_mixed_series_are_refused_and_offered(tmp_path: Path) -> None:
    write_series(tmp_path, noise(SHAPE))
    write_slice(tmp_path / "other.dcm", noise((4, 4)), SeriesInstanceUID="1.9", SeriesDescription="scout")
    with pytest.raises(MedSegError, match=r"holds 2 images.*phantom"):
        formats.read(tmp_path)
    with pytest.raises(MedSegError, match=r"several series.*scout"):
        formats.read_series(sorted(tmp_path.iterdir()))
    sources = formats.find_images(tmp_path)
    assert sorted(len(source.paths) for source in sources) == [1, 5]
    assert {formats.read_source(source).axes for source in sources} == {"YX", "ZYX"}


def test_scout_of_the_same_series_is_an_image_of_its_own(tmp_path: Path) -> None:
    write_series(tmp_path, noise(SHAPE))
    write_slice(
        tmp_path / "scout.dcm",
        noise((30, 20)),
        orientation=ORIENTATIONS["coronal"],
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
    )
    sources = formats.find_images(tmp_path)
    scout = next(formats.read_source(source) for source in sources if len(source.paths) == 1)
    assert scout.units == "grey"
    assert scout.acquisition.view == "localizer"
    assert len(sources) == 2


def test_series_without_identity_is_held_together_by_its_folder(tmp_path: Path) -> None:
    paths = write_series(tmp_path / "walk", noise(SHAPE), SeriesInstanceUID="", PatientID="", StudyInstanceUID="")
    image = formats.read(tmp_path)
    assert image.pixels.shape == SHAPE
    assert image.group == "walk"
    assert len(formats.find_images(paths)) == 1


def test_series_dropped_file_by_file_is_one_image(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(SHAPE))
    sources = formats.find_images(paths)
    assert len(sources) == 1
    assert set(sources[0].paths) == set(paths)


def compressed(syntax: str, frame: bytes) -> Dataset:
    slice_ = dataset(noise((16, 16)), (0, 0, 0), AXIAL)
    slice_.file_meta.TransferSyntaxUID = syntax
    slice_.PixelData = encapsulate([frame])
    slice_["PixelData"].is_undefined_length = True
    return slice_


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True)),
        (JPEGLosslessSV1, imagecodecs.ljpeg_encode),
        (JPEGLSLossless, imagecodecs.jpegls_encode),
    ],
)
def test_lossless_transfer_syntaxes(tmp_path: Path, syntax: str, encode: Any) -> None:
    pixels = noise((16, 16))
    compressed(syntax, bytes(encode(pixels))).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.dcm").pixels, pixels.astype(int) - 1024)


def test_jpeg_ls_needs_no_plugin_of_pydicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pydicom's own needs pyjpegls, which comes with highdicom: tests have it, users do not."""
    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    compressed(JPEGLSLossless, bytes(imagecodecs.jpegls_encode(noise((16, 16))))).save_as(
        tmp_path / "a.dcm", enforce_file_format=True
    )
    with pytest.raises(RuntimeError, match="Unable to decompress"):
        _ = dcmread(tmp_path / "a.dcm").pixel_array
    np.testing.assert_array_equal(formats.read(tmp_path / "a.dcm").pixels, noise((16, 16)).astype(int) - 1024)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_jpeg_ls_in_colour_is_as_pydicom_reads_it(tmp_path: Path, photometric: str) -> None:
    pytest.importorskip("jpeg_ls", reason="the extra highdicom is not installed")
    picture = noise((16, 16, 3)).astype(np.uint8)
    slice_ = compressed(JPEGLSLossless, bytes(imagecodecs.jpegls_encode(picture)))
    slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    slice_.Modality, slice_.PhotometricInterpretation = "ES", photometric
    slice_.SamplesPerPixel, slice_.PlanarConfiguration = 3, 0
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 8, 8, 7
    del slice_.RescaleSlope, slice_.RescaleIntercept
    slice_.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.dcm").pixels, dcmread(tmp_path / "a.dcm").pixel_array)


@pytest.mark.parametrize(
    ("syntax", "encode"), [(JPEGLosslessSV1, imagecodecs.ljpeg_encode), (JPEGLSLossless, imagecodecs.jpegls_encode)]
)
def test_signed_jpeg_lossless_keeps_its_sign(tmp_path: Path, syntax: str, encode: Any) -> None:
    stored = noise((16, 16)).astype(np.int16) - 1024
    slice_ = compressed(syntax, bytes(encode(stored.view(np.uint16))))
    slice_.PixelRepresentation, slice_.RescaleIntercept = 1, 0
    slice_.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.dcm").pixels, stored)


def test_run_length_encoding(tmp_path: Path) -> None:
    slice_ = dataset(noise((16, 16)), (0, 0, 0), AXIAL)
    slice_.compress(RLELossless)
    slice_.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(formats.read(tmp_path / "a.dcm").pixels, noise((16, 16)).astype(int) - 1024)


def test_unsupported_transfer_syntax_is_named(tmp_path: Path) -> None:
    compressed(MPEG2MPML, b"\0" * 64).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(MedSegError, match=r"a\.dcm is stored as MPEG2.*cannot be decoded.*Export it uncompressed"):
        formats.read(tmp_path / "a.dcm")


def test_fractional_slope_gives_float(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", noise((4, 4)), RescaleSlope="0.5", RescaleIntercept="-1000.5")
    image = formats.read(path)
    np.testing.assert_allclose(image.pixels, noise((4, 4)) * 0.5 - 1000.5)
    assert image.pixels.dtype == np.float32


def test_ct_without_rescale_is_not_called_hu(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", noise((4, 4)), RescaleSlope=None, RescaleIntercept=None)
    image = formats.read(path)
    assert image.units == "grey"
    assert "no rescale to HU" in image.notes[0]


def xray(path: Path, pixels: np.ndarray, **changes: Any) -> Path:
    return write_slice(path, pixels, None, Modality="DX", RescaleSlope=None, RescaleIntercept=None, **changes)


def test_inverted_xray_becomes_bright_for_dense(tmp_path: Path) -> None:
    pixels = noise((6, 5))
    image = formats.read(
        xray(tmp_path / "a.dcm", pixels, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    )
    np.testing.assert_array_equal(image.pixels, 4095 - pixels)
    assert (image.modality, image.units, image.affine) == ("DX", "grey", None)
    assert image.spacing_mm == SPACING


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["L", "F"], lambda a: a),
        (["R", "F"], lambda a: a[:, ::-1]),
        (["L", "H"], lambda a: a[::-1]),
        (["F", "L"], lambda a: a.T),
        (["FR", "LP"], lambda a: a.T),
        (["H", "R"], lambda a: a.T[::-1, ::-1]),
    ],
)
def test_projection_is_turned_as_it_says(tmp_path: Path, words: list[str], expected: Any) -> None:
    pixels = noise((6, 5))
    image = formats.read(xray(tmp_path / "a.dcm", pixels, PatientOrientation=words))
    np.testing.assert_array_equal(image.pixels, expected(pixels))
    labels = (image.pixels > 900).astype(np.uint8)
    formats.write_labels(tmp_path / "l.png", labels, image)
    np.testing.assert_array_equal(imagecodecs.imread(tmp_path / "l.png"), pixels > 900)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.png", image), labels)


def test_colour_dicom_is_rgb(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (6, 5, 3)).astype(np.uint8)
    path = write_slice(
        tmp_path / "a.dcm",
        pixels,
        None,
        SamplesPerPixel=3,
        PlanarConfiguration=0,
        PhotometricInterpretation="RGB",
        Modality="ES",
        RescaleSlope=None,
        RescaleIntercept=None,
        SOPClassUID=SecondaryCaptureImageStorage,
    )
    image = formats.read(path)
    np.testing.assert_array_equal(image.pixels, pixels)
    assert (image.axes, image.units) == ("YXC", "rgb")


def test_enhanced_ct_is_one_volume_in_one_file(tmp_path: Path) -> None:
    volume = noise(SHAPE)
    image = formats.read(write_enhanced(tmp_path / "enhanced.dcm", volume, [3, 0, 4, 1, 2]))
    np.testing.assert_array_equal(image.pixels, volume.astype(np.int16) - 1024)
    assert image.spacing_mm == pytest.approx((1.25, *SPACING))
    assert image.units == "HU"


def test_ultrasound_clip_in_jpeg_is_a_stack_of_colour_pictures(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8) * 5
    pictures = [np.stack([smooth, 255 - smooth, smooth // (n + 1)], axis=-1) for n in range(3)]
    frames = [imagecodecs.jpeg8_encode(picture, level=98) for picture in pictures]
    clip = dataset(pictures[0], None, AXIAL, RescaleSlope=None, RescaleIntercept=None, PixelSpacing=None, Modality="US")
    clip.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    clip.SamplesPerPixel, clip.PlanarConfiguration, clip.NumberOfFrames = 3, 0, 3
    clip.PhotometricInterpretation = "YBR_FULL_422"
    clip.PixelData = encapsulate([bytes(frame) for frame in frames])
    clip["PixelData"].is_undefined_length = True
    clip.save_as(tmp_path / "clip.dcm", enforce_file_format=True)
    image = formats.read(tmp_path / "clip.dcm")
    assert (image.axes, image.units, image.spacing_mm, image.affine) == ("ZYXC", "rgb", None, None)
    assert np.abs(image.pixels.astype(int) - np.stack(pictures)).mean() < 4


def test_whole_slide_in_tiles_is_refused(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", noise((4, 4)), NumberOfFrames=4, TotalPixelMatrixColumns=8)
    with pytest.raises(MedSegError, match="whole-slide image"):
        formats.read(path)


def test_dicom_without_pixels_or_image(tmp_path: Path) -> None:
    report = write_slice(
        tmp_path / "report.dcm",
        noise((4, 4)),
        Rows=None,
        Columns=None,
        PixelData=None,
        Modality="SR",
        SOPClassUID=BasicTextSRStorage,
    )
    with pytest.raises(MedSegError, match=r"without an image \(SR\)"):
        formats.read(report)
    empty = write_slice(tmp_path / "empty.dcm", noise((4, 4)), PixelData=None)
    with pytest.raises(MedSegError, match="truncated"):
        formats.read(empty)
    assert [source.name for source in formats.find_images(tmp_path)] == ["empty.dcm"]


def test_truncated_slice_of_a_series_is_not_left_out(tmp_path: Path) -> None:
    paths = write_series(tmp_path, noise(SHAPE))
    paths[-1].write_bytes(paths[-1].read_bytes()[:200])
    sources = formats.find_images(tmp_path)
    assert len(sources) == 2
    damaged = next(source for source in sources if source.paths == (paths[-1],))
    with pytest.raises(MedSegError, match="truncated"):
        formats.read_source(damaged)


def test_impossible_orientation_is_refused(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", noise((4, 4)), orientation=(1, 0, 0, 1, 0, 0))
    with pytest.raises(MedSegError, match="impossible orientation"):
        formats.read(path)


def test_dicom_without_a_suffix_is_known_by_its_magic(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "IM0001", noise((4, 4)))
    assert formats.can_read(path)
    assert formats.read(path).name == "IM0001"


def test_reading_leaves_the_source_file_alone(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", noise((4, 4)))
    before = path.read_bytes()
    image = formats.read(path)
    formats.write_labels(tmp_path / "l.nii.gz", np.ones((4, 4), int), image)
    assert path.read_bytes() == before
    assert dcmread(path).PatientID == "P7"


@pytest.mark.shared
def test_real_jpeg_2000_series(shared_data: Path) -> None:
    image = formats.read(shared_data / "ct_samples" / "totalsegmentator_dicom")
    assert image.pixels.shape == (20, 512, 512)
    assert image.spacing_mm == pytest.approx((2.0, 0.9765625, 0.9765625))
    assert image.units == "HU"
    # the file names go down the patient, the volume goes up
    assert image.sources[0].name.endswith("16592")
    np.testing.assert_allclose(image.affine[:3, 3], [249.51171875, 437.51171875, -804.5])


@pytest.mark.shared
def test_real_whole_series_of_the_sample(shared_data: Path) -> None:
    image = formats.read(shared_data / "lungs" / "lung_pet_ct_dx_A0001" / "dicom")
    assert image.pixels.shape == (64, 512, 512)
    assert image.spacing_mm == pytest.approx((5.0, 0.841796875, 0.841796875))
    assert image.group == "Lung_Dx-A0001"
