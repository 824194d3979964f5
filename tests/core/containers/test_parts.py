"""Files that hold several images: volumes of NIfTI, phases of DICOM, and their paths."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_files import item, noise, write_enhanced, write_slice

from napari_medseg.core import formats
from napari_medseg.core.containers.part_paths import find_inner_path, get_whole_path, make_part_path, parse_part_name
from napari_medseg.core.errors import MedSegError

AFFINE = np.diag([-0.7, -0.8, 2.5, 1.0])
AXIAL = [1, 0, 0, 0, 1, 0]


def save_nifti(path: Path, shape: tuple[int, ...], dtype: str = "<i2") -> np.ndarray:
    values = np.random.default_rng(len(shape)).integers(0, 2000, shape).astype(dtype)
    nib.save(nib.Nifti1Image(values, AFFINE), path)
    return values


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.hdr"])
@pytest.mark.parametrize("shape", [(5, 6, 7, 3), (5, 6, 7, 2, 3), (5, 6, 7, 1, 2), (5, 6, 1, 4)])
def test_each_volume_is_the_one_that_nibabel_has_there(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    if name == "a.hdr":
        values = np.random.default_rng(0).integers(0, 2000, shape).astype("<i2")
        nib.save(nib.Nifti1Pair(values, AFFINE), tmp_path / "a.img")
    else:
        values = save_nifti(tmp_path / name, shape)
    seen = nib.load(tmp_path / name)
    volumes = np.asarray(seen.dataobj).reshape((*shape[:3], -1), order="F")
    sources = formats.find_images(tmp_path)
    assert len(sources) == volumes.shape[3]
    for n, source in enumerate(sources):
        image = formats.read_source(source)
        lying = np.asarray(image.storage.to_file(image.pixels))
        np.testing.assert_array_equal(lying, volumes[..., n].reshape(lying.shape))
        again = formats.read(image.sources[0])
        assert (again.content_hash, again.group, again.sources) == (image.content_hash, image.group, image.sources)
        assert image.group == ("a.hdr" if name == "a.hdr" else "a")
        formats.write_labels(tmp_path / "out.nii.gz", (image.pixels > 900).astype(np.uint8), image)
        out = nib.load(tmp_path / "out.nii.gz")
        assert out.shape == shape[:3]
        np.testing.assert_array_equal(out.affine, seen.affine)
        (tmp_path / "out.nii.gz").unlink()


def test_scaled_and_coloured_volumes(tmp_path: Path) -> None:
    scaled = nib.Nifti1Image(np.arange(48, dtype="<i2").reshape(2, 3, 4, 2), AFFINE)
    scaled.header.set_slope_inter(2, -1000)
    nib.save(scaled, tmp_path / "s.nii")
    image = formats.read(tmp_path / "s.nii/s_volume2.nii")
    np.testing.assert_array_equal(image.storage.to_file(image.pixels), nib.load(tmp_path / "s.nii").get_fdata()[..., 1])
    colour = np.zeros((4, 5, 6, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    colour["G"] = np.random.default_rng(0).integers(0, 255, colour.shape)
    nib.save(nib.Nifti1Image(colour, AFFINE), tmp_path / "c.nii")
    image = formats.read(tmp_path / "c.nii/c_volume2.nii")
    assert image.axes == "ZYXC"
    np.testing.assert_array_equal(image.storage.to_file(image.pixels[..., 1]), colour["G"][..., 1])


def test_a_file_of_several_volumes_is_refused_with_a_way_out_and_a_wrong_part_too(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii.gz", (4, 5, 6, 3))
    with pytest.raises(MedSegError, match=r"holds 3 volumes.*a\.nii\.gz/a_volume1\.nii\.gz"):
        formats.read(tmp_path / "a.nii.gz")
    for name in ("a_volume0.nii.gz", "a_volume4.nii.gz", "a_phase1.nii.gz", "b.nii.gz", "x/a_volume1.nii.gz"):
        with pytest.raises(MedSegError, match=r"a\.nii\.gz"):
            formats.read(tmp_path / "a.nii.gz" / name)
    content = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(content[:-30])
    with pytest.raises(MedSegError):
        formats.read(tmp_path / "a.nii.gz/a_volume1.nii.gz")


def write_phases(path: Path, keep: list[int], **attributes: Any) -> np.ndarray:
    """Write an enhanced CT of two phases and three slices, its frames in the order of `keep`."""
    volume = noise((6, 8, 9))

    def frames(n: int) -> dict[str, Any]:
        (sequence, (keyword, values)), *_ = attributes.items()
        place = item(ImagePositionPatient=[0, 0, 1.25 * (n % 3)])
        return {"PlanePositionSequence": place, sequence: item(**{keyword: values[n // 3]})}

    write_enhanced(path, volume, order=keep, frames=frames)
    return volume


@pytest.mark.parametrize(
    ("sequence", "keyword", "values"),
    [
        ("FrameContentSequence", "TemporalPositionIndex", (1, 2)),
        ("FrameContentSequence", "StackID", ("1", "2")),
        ("MREchoSequence", "EffectiveEchoTime", (4.6, 9.2)),
        ("MRDiffusionSequence", "DiffusionBValue", (0.0, 800.0)),
        ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", (35.0, 75.0)),
        ("CTImageFrameTypeSequence", "FrameType", (["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"])),
    ],
)
def test_phases_of_an_enhanced_file_are_told_apart_by_what_differs(
    tmp_path: Path, sequence: str, keyword: str, values: tuple[Any, Any]
) -> None:
    volume = write_phases(tmp_path / "heart.dcm", [5, 0, 3, 1, 4, 2], **{sequence: (keyword, values)})
    with pytest.raises(MedSegError, match="holds 2 phases"):
        formats.read(tmp_path / "heart.dcm")
    sources = formats.find_images(tmp_path)
    assert {source.whole for source in sources} == {"heart.dcm"}
    found = [formats.read_source(source) for source in sources]
    expected = {volume[:3].astype(np.int16).tobytes(), volume[3:].astype(np.int16).tobytes()}
    assert {(image.pixels + 1024).astype(np.int16).tobytes() for image in found} == expected
    for source, image in zip(sources, found, strict=True):
        assert formats.read(source.paths[0]).content_hash == image.content_hash
        assert image.group == "P7"


def test_a_volume_per_echo_of_single_slices(tmp_path: Path) -> None:
    for n in range(6):
        write_slice(tmp_path / f"{n}.dcm", noise((8, 9), n), (0, 0, 2.0 * (n % 3)), EchoTime=5 + n // 3)
    sources = formats.find_images(tmp_path)
    assert [len(source.paths) for source in sources] == [3, 3]
    assert {source.part for source in sources} == {"phase 5.0", "phase 6.0"}
    assert formats.search_images(tmp_path).asks_which


def test_paths_that_lead_into_a_file(tmp_path: Path) -> None:
    file = tmp_path / "scan.nii.gz"
    file.write_bytes(b"x")
    part = make_part_path(file, "volume", 12)
    assert part == file / "scan_volume12.nii.gz"
    inner = find_inner_path(part)
    assert inner is not None
    assert (inner.file, parse_part_name(inner.inner, "volume")) == (file, 12)
    assert parse_part_name(inner.inner, "phase") is None
    assert get_whole_path(part) == file
    assert get_whole_path(file) == file
    for plain in (file, tmp_path, tmp_path / "gone", tmp_path / "gone" / "x.nii"):
        assert find_inner_path(plain) is None
    assert get_whole_path(Path("a.dcm/a_phase1.dcm")) == Path("a.dcm")
    assert get_whole_path(Path("patient/patient_1")) == Path("patient/patient_1")


def test_a_file_in_a_folder_with_the_name_of_a_file_is_no_part(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii" / "scan_1.nii"
    path.parent.mkdir()
    save_nifti(path, (5, 6, 7))
    assert get_whole_path(path) == path
