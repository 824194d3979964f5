"""NIfTI: whatever the storage order, the same picture in; the source's own matrix and order, bit for bit, out."""

import gzip
import itertools
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, inv_ornt_aff

from napari_medseg.core import formats
from napari_medseg.core.containers.part_paths import SeveralImagesError
from napari_medseg.core.errors import MedSegError

RAS_SHAPE = (6, 7, 8)
RAS_AFFINE = np.array([[0.7, 0, 0, -31.0], [0, 0.8, 0, 12.5], [0, 0, 2.5, 100.25], [0, 0, 0, 1]])
ORDERS = [
    np.array([[axis, sign] for axis, sign in zip(axes, signs, strict=True)], dtype=float)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product([1, -1], repeat=3)
]


def ras_volume() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, RAS_SHAPE).astype(np.int16)


def save(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def saved_in_order(path: Path, order: np.ndarray, affine: np.ndarray = RAS_AFFINE) -> Path:
    data = np.ascontiguousarray(apply_orientation(ras_volume(), order))
    return save(path, data, affine @ inv_ornt_aff(order, RAS_SHAPE))


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(nib.orientations.ornt2axcodes(order)))
def test_every_storage_order_gives_one_image_and_goes_back_bit_for_bit(tmp_path: Path, order: np.ndarray) -> None:
    path = saved_in_order(tmp_path / "a.nii.gz", order)
    image = formats.read(path)
    # canonical: z to the head, y to the back, x to the left: RAS data turned over and mirrored
    np.testing.assert_array_equal(image.pixels, ras_volume().transpose(2, 1, 0)[:, ::-1, ::-1])
    assert image.spacing_mm == pytest.approx((2.5, 0.8, 0.7), abs=1e-6)
    labels = (image.pixels > 0).astype(np.uint8) * 2
    formats.write_labels(tmp_path / "l.nii.gz", labels, image)
    source, written = nib.load(path), nib.load(tmp_path / "l.nii.gz")
    assert written.affine.tobytes() == source.affine.tobytes()
    for field in ("srow_x", "srow_y", "srow_z", "qform_code", "sform_code", "pixdim", "qoffset_x", "quatern_b"):
        assert written.header[field].tobytes() == source.header[field].tobytes()
    np.testing.assert_array_equal(np.asarray(written.dataobj), (np.asarray(source.dataobj) > 0) * 2)
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.nii.gz", image), labels)


@pytest.mark.parametrize("order", ORDERS[::7])
def test_bright_voxel_lies_where_the_matrix_says(tmp_path: Path, order: np.ndarray) -> None:
    oblique = RAS_AFFINE.copy()
    oblique[:3, :3] = nib.eulerangles.euler2mat(0.2, -0.15, 0.3) @ oblique[:3, :3]
    data = ras_volume()
    data[1, 2, 5] = 3000
    position = oblique @ [1, 2, 5, 1]
    path = save(
        tmp_path / "a.nii",
        np.ascontiguousarray(apply_orientation(data, order)),
        oblique @ inv_ornt_aff(order, RAS_SHAPE),
    )
    image = formats.read(path)
    index = np.unravel_index(image.pixels.argmax(), image.pixels.shape)
    np.testing.assert_allclose(image.affine @ [*index, 1], position, atol=1e-4)
    assert image.spacing_mm == pytest.approx((2.5, 0.8, 0.7), abs=1e-5)
    formats.write_labels(tmp_path / "l.nii", np.ones(image.spatial_shape, int), image)
    assert nib.load(tmp_path / "l.nii").affine.tobytes() == nib.load(path).affine.tobytes()


def test_matrix_that_only_the_qform_holds_is_kept(tmp_path: Path) -> None:
    source = nib.Nifti1Image(ras_volume(), None)
    turned = RAS_AFFINE.copy()
    turned[:3, :3] = nib.eulerangles.euler2mat(0.1, 0.2, 0.3) @ turned[:3, :3]
    source.set_qform(turned, code=1)
    source.set_sform(None, code=0)
    nib.save(source, tmp_path / "a.nii.gz")
    image = formats.read(tmp_path / "a.nii.gz")
    formats.write_labels(tmp_path / "l.nii.gz", np.ones(image.spatial_shape, int), image)
    written = nib.load(tmp_path / "l.nii.gz")
    assert written.affine.tobytes() == nib.load(tmp_path / "a.nii.gz").affine.tobytes()
    assert int(written.header["sform_code"]) == 0


def test_sheared_matrix_keeps_voxel_volume_and_goes_back(tmp_path: Path) -> None:
    sheared = RAS_AFFINE.copy()
    sheared[1, 2] = 0.5
    image = formats.read(save(tmp_path / "a.nii", ras_volume(), sheared))
    assert np.prod(image.spacing_mm) == pytest.approx(0.7 * 0.8 * 2.5, abs=1e-5)
    formats.write_labels(tmp_path / "l.nii", np.ones(image.spatial_shape, int), image)
    assert nib.load(tmp_path / "l.nii").affine.tobytes() == nib.load(tmp_path / "a.nii").affine.tobytes()


def test_scaled_values_become_hu(tmp_path: Path) -> None:
    source = nib.Nifti1Image(np.arange(0, 3360, 10, dtype=np.int16).reshape(RAS_SHAPE), RAS_AFFINE)
    source.header.set_slope_inter(1, -1024)
    nib.save(source, tmp_path / "a.nii")
    raw = nib.load(tmp_path / "a.nii")
    assert raw.dataobj.inter == -1024
    image = formats.read(tmp_path / "a.nii")
    assert (image.pixels.dtype, int(image.pixels.min()), image.units, image.modality) == (np.int16, -1024, "HU", "CT")
    formats.write_labels(tmp_path / "l.nii", np.full(image.spatial_shape, 300), image)
    written = nib.load(tmp_path / "l.nii")
    assert written.get_data_dtype() == np.uint16
    assert set(np.unique(written.get_fdata())) == {300}


def test_grey_values_are_not_called_hu(tmp_path: Path) -> None:
    image = formats.read(save(tmp_path / "a.nii", np.abs(ras_volume()), RAS_AFFINE))
    assert (image.units, image.modality) == ("grey", "")


@pytest.mark.parametrize("thin", [0, 1, 2])
def test_one_plane_is_a_plane_and_goes_back_into_its_volume(tmp_path: Path, thin: int) -> None:
    plane = np.take(ras_volume(), [3], axis=thin)
    path = save(tmp_path / "a.nii", plane, RAS_AFFINE)
    image = formats.read(path)
    assert image.axes == "YX"
    planes = {0: (2, 1), 1: (2, 0), 2: (1, 0)}[thin]
    flips = {0: (True, True), 1: (True, True), 2: (True, True)}[thin]
    expected = plane.squeeze(thin)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)].T
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.spacing_mm == pytest.approx(tuple(np.diag(RAS_AFFINE)[list(planes)]), abs=1e-6)
    labels = (image.pixels > 0).astype(np.uint8)
    formats.write_labels(tmp_path / "l.nii", labels, image)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "l.nii").dataobj), plane > 0)
    np.testing.assert_array_equal(formats.read_labels(tmp_path / "l.nii", image), labels)


def test_trailing_dimensions_of_one_are_dropped_and_real_ones_refused(tmp_path: Path) -> None:
    data = ras_volume()
    assert formats.read(save(tmp_path / "a.nii", data[..., None, None], RAS_AFFINE)).axes == "ZYX"
    for extra in ((2,), (1, 3), (2, 2)):
        path = save(
            tmp_path / "b.nii",
            np.broadcast_to(data.reshape(*RAS_SHAPE, *(1,) * len(extra)), RAS_SHAPE + extra),
            RAS_AFFINE,
        )
        with pytest.raises(SeveralImagesError, match=rf"holds {np.prod(extra)} volumes"):
            formats.read(path)


def test_colour_volume(tmp_path: Path) -> None:
    colour = np.zeros(RAS_SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for n, name in enumerate("RGB"):
        colour[name] = np.random.default_rng(n).integers(0, 255, RAS_SHAPE)
    image = formats.read(save(tmp_path / "a.nii", colour, RAS_AFFINE))
    assert (image.axes, image.units, image.pixels.shape) == ("ZYXC", "rgb", (8, 7, 6, 3))
    np.testing.assert_array_equal(image.pixels[::, ::-1, ::-1, 1].transpose(2, 1, 0), colour["G"])
    formats.write_image(tmp_path / "b.nii", image)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), colour)


def test_nan_is_counted_and_refused(tmp_path: Path) -> None:
    data = ras_volume().astype(np.float32)
    data[0, 0, :3] = [np.nan, np.inf, -np.inf]
    with pytest.raises(MedSegError, match="3 values that are NaN or infinite"):
        formats.read(save(tmp_path / "a.nii", data, RAS_AFFINE))


def test_complex_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MedSegError, match="complex64"):
        formats.read(save(tmp_path / "a.nii", ras_volume().astype(np.complex64), RAS_AFFINE))


def test_singular_matrix_is_refused(tmp_path: Path) -> None:
    source = nib.Nifti1Image(ras_volume(), RAS_AFFINE)
    source.header["srow_z"] = 0
    source.header["sform_code"] = 1
    path = tmp_path / "a.nii"
    nib.Nifti1Image(ras_volume(), None, source.header).to_filename(path)
    with pytest.raises(MedSegError, match="no usable orientation"):
        formats.read(path)


def test_file_without_orientation_says_so(tmp_path: Path) -> None:
    source = nib.Nifti1Image(ras_volume(), None)
    nib.save(source, tmp_path / "a.nii")
    image = formats.read(tmp_path / "a.nii")
    assert "has no orientation" in image.notes[0]


def test_header_that_announces_too_much_asks_for_no_memory(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", ras_volume(), RAS_AFFINE)
    content = bytearray(nib.load(path).header.binaryblock)
    header = nib.Nifti1Header(bytes(content))
    header["dim"][1:4] = 30000
    (tmp_path / "b.nii").write_bytes(header.binaryblock + b"\0" * 1000)
    with pytest.raises(MedSegError, match="TB of memory"):
        formats.read(tmp_path / "b.nii")


def test_nifti_2_goes_back_as_nifti_2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(ras_volume(), RAS_AFFINE), tmp_path / "a.nii")
    image = formats.read(tmp_path / "a.nii")
    formats.write_labels(tmp_path / "l.nii", np.ones(image.spatial_shape, int), image)
    written = nib.load(tmp_path / "l.nii")
    assert isinstance(written, nib.Nifti2Image)
    assert written.affine.tobytes() == nib.load(tmp_path / "a.nii").affine.tobytes()


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<u2", "u1", "<f4", ">f8", "<i4", "<i8"])
def test_types_and_byte_orders_come_in_alike(tmp_path: Path, dtype: str) -> None:
    data = np.abs(ras_volume()) % 200
    header = nib.Nifti1Header(endianness=dtype[0] if dtype[0] in "<>" else "<")
    header.set_data_dtype(np.dtype(dtype))
    nib.save(nib.Nifti1Image(data.astype(dtype), RAS_AFFINE, header, dtype=np.dtype(dtype)), tmp_path / "a.nii")
    image = formats.read(tmp_path / "a.nii")
    np.testing.assert_array_equal(image.pixels, data.transpose(2, 1, 0)[:, ::-1, ::-1])
    assert image.pixels.dtype.isnative
    assert image.pixels.dtype.itemsize <= 4
    formats.write_labels(tmp_path / "l.nii", np.ones(image.spatial_shape, int), image)
    assert nib.load(tmp_path / "l.nii").affine.tobytes() == nib.load(tmp_path / "a.nii").affine.tobytes()


@pytest.mark.shared
def test_real_nifti_ct(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "ct_samples" / "example_ct_sm.nii.gz"
    image = formats.read(source)
    assert (image.axes, image.pixels.shape, image.units) == ("ZYX", (30, 101, 122), "HU")
    assert image.spacing_mm == pytest.approx((3, 3, 3))
    formats.write_labels(tmp_path / "l.nii.gz", (image.pixels < -500).astype(np.uint8), image)
    written = nib.load(tmp_path / "l.nii.gz")
    assert written.affine.tobytes() == nib.load(source).affine.tobytes()
    np.testing.assert_array_equal(written.get_fdata() > 0, nib.load(source).get_fdata() < -500)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_flipped_bit_in_a_compressed_file_is_noticed(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "a.nii.gz"
    nib.save(kind(ras_volume(), RAS_AFFINE), path)
    whole, sound = path.read_bytes(), formats.read(path)
    random = np.random.default_rng(0)
    n_refused = 0
    for place in random.integers(0, len(whole), 120):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:  # gzip's time stamp and the unused bits at the end of its stream change nothing
            assert gzip.decompress(damaged) == gzip.decompress(whole)
        except (OSError, EOFError, zlib.error):
            n_refused += 1
            with pytest.raises(MedSegError, match=r"a\.nii\.gz"):
                formats.read(path)
        else:
            np.testing.assert_array_equal(formats.read(path).pixels, sound.pixels)
    assert n_refused > 100


def test_checksum_and_length_at_the_end_of_gzip_are_needed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz", ras_volume(), RAS_AFFINE)
    whole = path.read_bytes()
    raw = gzip.decompress(whole)
    image = formats.read(path)
    members = b"".join(gzip.compress(raw[n : n + 100]) for n in range(0, len(raw), 100))
    for sound in (members, whole + bytes(100)):
        path.write_bytes(sound)
        assert formats.read(path).content_hash == image.content_hash
    for damaged in (whole[:-1], whole[:-8], whole[:-8] + bytes(8), whole[:-4] + bytes(4), whole + b"more"):
        path.write_bytes(damaged)
        with pytest.raises(MedSegError, match=r"a\.nii\.gz cannot be read as NIfTI"):
            formats.read(path)
