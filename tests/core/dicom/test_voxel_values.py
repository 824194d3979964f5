"""HU = slope x stored + intercept, padding is the lowest HU, and what the header does not say is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from dicom_files import AXIAL, dataset, item, noise, write_enhanced, write_series, write_slice
from pydicom import dcmread, dcmwrite
from pydicom.uid import (
    EnhancedCTImageStorage,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

SHAPE = (6, 5)
HU = noise(SHAPE).astype(int) - 1024


def read(path: Path, pixels: np.ndarray | None = None, **changes: Any) -> Image:
    return formats.read(write_slice(path / "a.dcm", noise(SHAPE) if pixels is None else pixels, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11},
        {"RescaleType": "HU"},
        {"RescaleType": "US"},
        {"RescaleType": ""},
        {"Modality": None},
        {"Modality": ""},
        {"Modality": None, "SOPClassUID": EnhancedCTImageStorage},
        {"Modality": None, "SOPClassUID": SecondaryCaptureImageStorage},
        {"Modality": "OT", "SOPClassUID": SecondaryCaptureImageStorage, "PhotometricInterpretation": "MONOCHROME1"},
        {"WindowCenter": 40, "WindowWidth": 80},
        {"VOILUTSequence": item(LUTDescriptor=[4096, 0, 8], LUTData=bytes(8192))},
        {"PresentationLUTShape": "INVERSE"},
    ],
    ids=lambda changes: ", ".join(f"{key} {str(value)[:25]}" for key, value in changes.items()),
)
def test_hu_are_slope_times_stored_plus_intercept(tmp_path: Path, changes: dict[str, Any]) -> None:
    image = read(tmp_path, **changes)
    np.testing.assert_array_equal(image.pixels, HU)
    assert (image.units, image.modality) == ("HU", "CT")


def test_simpleitk_reads_the_same_hu(tmp_path: Path) -> None:
    for changes in ({}, {"RescaleSlope": 2, "RescaleIntercept": -1000}, {"RescaleType": "US"}):
        image = read(tmp_path, **changes)
        other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(tmp_path / "a.dcm")))
        np.testing.assert_array_equal(image.pixels, other[0])


def test_missing_intercept_is_0_and_missing_slope_is_1_and_both_are_told(tmp_path: Path) -> None:
    signed = noise(SHAPE).astype(np.int16) - 1024
    image = read(tmp_path, signed, RescaleIntercept=None)
    np.testing.assert_array_equal(image.pixels, HU)
    assert (image.units, image.notes) == ("HU", ("The rescale has no intercept; 0 is used.",))
    image = read(tmp_path, RescaleSlope=None)
    np.testing.assert_array_equal(image.pixels, HU)
    assert (image.units, image.notes) == ("HU", ("The rescale has no slope; 1 is used.",))
    image = read(tmp_path, signed, RescaleIntercept="")
    assert image.notes == ("The rescale has no intercept; 0 is used.",)


def test_missing_intercept_of_one_slice_is_told_with_its_number(tmp_path: Path) -> None:
    for n in range(3):
        write_slice(tmp_path / f"{n}.dcm", noise(SHAPE, n), (0, 0, n), **({"RescaleIntercept": None} if n == 1 else {}))
    image = formats.read(tmp_path)
    np.testing.assert_array_equal(image.pixels[1], noise(SHAPE, 1))
    assert image.notes == ("The rescale has no intercept; 0 is used. (1 of 3 slices)",)


def test_slice_that_is_not_in_hu_is_not_mixed_with_others(tmp_path: Path) -> None:
    for n in range(3):
        without = {"RescaleIntercept": None, "RescaleSlope": None} if n == 1 else {}
        write_slice(tmp_path / f"{n}.dcm", noise(SHAPE, n), (0, 0, n), **without)
    with pytest.raises(MedSegError, match=r"only 2 of 3 slices are in HU, not 1\.dcm"):
        formats.read(tmp_path)


def test_stored_hu_without_rescale_are_known_by_their_values(tmp_path: Path) -> None:
    image = read(tmp_path, noise(SHAPE).astype(np.int16) - 1024, RescaleSlope=None, RescaleIntercept=None)
    assert (image.units, image.notes) == ("HU", ("The CT has no rescale to HU; by its values it is in HU already.",))


def test_a_slope_of_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match=r"a\.dcm has rescale slope 0"):
        read(tmp_path, RescaleSlope=0)


@pytest.mark.parametrize("value_type", ["Z_EFF", "MGML", "HU_MOD", "PCT"])
def test_other_quantities_of_a_dual_energy_ct_are_not_hu(tmp_path: Path, value_type: str) -> None:
    image = read(tmp_path, RescaleType=value_type)
    assert (image.units, image.notes) == ("grey", (f"The values are {value_type}, not HU.",))


def test_mr_is_never_hu_whatever_its_values_are(tmp_path: Path) -> None:
    phase = read(tmp_path, Modality="MR", SOPClassUID=MRImageStorage, RescaleSlope=2, RescaleIntercept=-4096)
    assert (phase.units, phase.modality) == ("grey", "MR")
    implied = read(tmp_path, Modality=None, SOPClassUID=MRImageStorage)
    assert (implied.units, implied.modality) == ("grey", "MR")
    assert implied.notes == ("The header gives no modality; MR Image Storage is MR.",)


def test_measurements_are_not_inverted_but_films_are(tmp_path: Path) -> None:
    for modality, expected in [("PT", HU), ("NM", HU), ("MR", HU), ("CR", 65535 - noise(SHAPE).astype(int) - 1024)]:
        image = read(tmp_path, Modality=modality, PhotometricInterpretation="MONOCHROME1")
        np.testing.assert_array_equal(image.pixels, expected)


def test_modality_lut_to_hu(tmp_path: Path) -> None:
    table = item(LUTDescriptor=[2000, 0, 16], ModalityLUTType="US", LUTData=np.arange(100, 2100, dtype="<u2").tobytes())
    image = read(tmp_path, ModalityLUTSequence=table, RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(image.pixels, noise(SHAPE) + 100)
    assert image.units == "HU"


PADDINGS = {
    "unsigned 63536": (np.uint16, 63536, {"PixelPaddingValue": 63536}),
    "unsigned, written as -2000": (np.uint16, 63536, {"PixelPaddingValue": -2000}),
    "signed -2000": (np.int16, -2000, {"PixelPaddingValue": -2000, "PixelRepresentation": 1}),
    "signed, written as 63536": (np.int16, -2000, {"PixelPaddingValue": 63536, "PixelRepresentation": 1}),
    "above the stored bits": (np.uint16, 63536, {"PixelPaddingValue": 63536, "BitsStored": 12, "HighBit": 11}),
    "range": (np.uint16, 4090, {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4080}),
    "range upwards": (np.uint16, 4090, {"PixelPaddingValue": 4080, "PixelPaddingRangeLimit": 4095}),
}


def padded(dtype: type, value: int) -> np.ndarray:
    pixels = noise(SHAPE).astype(dtype)
    pixels[:2], pixels[2, 0] = value, 0
    return pixels


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "RLE"])
@pytest.mark.parametrize("name", PADDINGS)
def test_padding_is_the_lowest_hu(tmp_path: Path, name: str, syntax: str) -> None:
    dtype, value, changes = PADDINGS[name]
    pixels = padded(dtype, value)
    number = changes["PixelPaddingValue"]
    file = dataset(pixels, (0, 0, 0), AXIAL, **{key: new for key, new in changes.items() if "Padding" not in key})
    for keyword in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
        if keyword in changes:
            file.add_new(keyword, "SS" if number < 0 else "US", changes[keyword])
    if syntax == "implicit":
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    if syntax == "RLE":
        if name == "above the stored bits":
            pytest.skip("a compressed file has no bits above those stored")
        file.compress(RLELossless)
    file.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image = formats.read(tmp_path / "a.dcm")
    expected = pixels.astype(int) - 1024
    expected[:2] = -1024
    np.testing.assert_array_equal(image.pixels, expected)
    assert (image.padding_value, image.units, image.pixels.dtype) == (-1024, "HU", np.int16)
    assert image.find_padding().sum() == 11, "the ten padded pixels, and one measured pixel of the same value"


def test_padding_of_a_series_is_one_value_below_all_others(tmp_path: Path) -> None:
    volume = noise((3, *SHAPE))
    volume[1, :2] = 63536
    volume[2, 0, 0] = 5
    write_series(tmp_path, volume, PixelPaddingValue=63536, RescaleIntercept=-2000)
    image = formats.read(tmp_path)
    measured = volume[volume != 63536].astype(int) - 2000
    assert image.padding_value == measured.min() < -1024
    assert (image.pixels[1, :2] == image.padding_value).all()
    assert image.pixels.max() == measured.max()


def test_declared_padding_that_does_not_occur_changes_nothing(tmp_path: Path) -> None:
    image = read(tmp_path, PixelPaddingValue=63536)
    np.testing.assert_array_equal(image.pixels, HU)
    assert image.padding_value is None


def test_padding_of_a_film_is_its_lowest_value_also_if_inverted(tmp_path: Path) -> None:
    pixels = noise(SHAPE)
    pixels[:2] = 4095
    film = {"Modality": "DX", "RescaleSlope": None, "RescaleIntercept": None, "PixelPaddingValue": 4095}
    image = read(tmp_path, pixels, **film, PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)
    np.testing.assert_array_equal(image.pixels[2:], 4095 - pixels[2:])
    assert (image.pixels[:2] == 4095 - pixels[2:].max()).all()


def test_slice_of_padding_only(tmp_path: Path) -> None:
    image = read(tmp_path, np.full(SHAPE, 63536, np.uint16), PixelPaddingValue=63536)
    assert (image.pixels == -1024).all()


def test_rescale_of_each_frame(tmp_path: Path) -> None:
    def rescale(n: int) -> dict[str, Any]:
        slope, intercept = n + 1, -1024 - n
        return {"PixelValueTransformationSequence": item(RescaleSlope=slope, RescaleIntercept=intercept)}

    volume = noise((4, *SHAPE))
    image = formats.read(write_enhanced(tmp_path / "a.dcm", volume, [2, 0, 3, 1], frames=rescale))
    for n in range(4):
        np.testing.assert_array_equal(image.pixels[n], volume[n].astype(int) * (n + 1) - 1024 - n)
    assert image.units == "HU"


def test_enhanced_frames_of_another_quantity_are_not_hu(tmp_path: Path) -> None:
    electron_density = item(RescaleSlope=1, RescaleIntercept=0, RescaleType="ED")
    path = tmp_path / "a.dcm"
    volume = noise((3, *SHAPE))
    write_enhanced(path, volume, frames=lambda _: {"PixelValueTransformationSequence": electron_density})
    assert formats.read(path).units == "grey"
    write_enhanced(path, volume, frames=lambda n: {"PixelValueTransformationSequence": electron_density} if n else {})
    with pytest.raises(MedSegError, match="only 1 of 3 slices are in HU"):
        formats.read(path)


def test_reading_keeps_the_stored_numbers(tmp_path: Path) -> None:
    path = write_slice(tmp_path / "a.dcm", padded(np.uint16, 63536), PixelPaddingValue=63536)
    formats.read(path)
    assert dcmread(path).pixel_array.max() == 63536


def test_a_short_palette_is_named(tmp_path: Path) -> None:
    lookup = {}
    for colour in ("Red", "Green", "Blue"):
        lookup[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        lookup[f"{colour}PaletteColorLookupTableData"] = bytes(10)
    slice_ = dataset(noise((8, 8)), (0, 0, 0), AXIAL, PhotometricInterpretation="PALETTE COLOR", **lookup)
    dcmwrite(tmp_path / "a.dcm", slice_, enforce_file_format=True)
    with pytest.raises(MedSegError, match="has a palette of 256 colours, but only 10 bytes of red"):
        formats.read(tmp_path / "a.dcm")
