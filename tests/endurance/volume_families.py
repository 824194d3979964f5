"""Damaged volumes, archives and DICOM labels: the formats of other programs that are only read."""

import zipfile
from collections.abc import Hashable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import tifffile
from dicom_files import dataset, noise, write_enhanced, write_series
from fuzzing import Family
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.dicom_labels.reader import count_dicom_values, read_dicom_label_names, read_dicom_labels
from napari_medseg.core.formats.labels import write_labels
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.description import LabelDescription
from napari_medseg.core.label_files.registry import find_label_format
from napari_medseg.core.tasks.bundled_tasks import get_task

SHAPE = (4, 16, 18)
GRID = Image(
    np.zeros(SHAPE, np.uint8), "ZYX", (2.5, 0.8, 0.7), np.diag([-0.7, -0.8, 2.5, 1])[:, [2, 1, 0, 3]], name="g"
)


def list_all(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def make_itk(folder: Path) -> list[Path]:
    volume = sitk.GetImageFromArray(noise(SHAPE).astype(np.int16))
    volume.SetSpacing((0.7, 0.8, 2.5))
    for name in ("a.mha", "b.mhd", "c.nrrd", "d.nhdr"):
        sitk.WriteImage(volume, folder / name, useCompression=name[0] in "ac")
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[1:3, 4:9, 4:9] = 1
    find_label_format(".seg.nrrd").write(folder / "e.seg.nrrd", drawn, GRID, LabelDescription(get_task("lungs"), ""))
    return list_all(folder)


def make_several_volumes(folder: Path) -> list[Path]:
    """Files of four dimensions: MetaImage, NRRD of ITK and of 3D Slicer, and TIFF with an axis of time."""
    values = noise((3, *SHAPE)).astype(np.int16)
    for name in ("a.mha", "b.mhd", "c.nrrd", "d.nhdr"):
        sitk.WriteImage(sitk.GetImageFromArray(values, isVector=False), folder / name, useCompression=name[0] in "ac")
    head = "NRRD0005\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 3 18 16 4\n"
    head += "space directions: none (0.7,0,0) (0,0.8,0) (0,0,2.5)\nkinds: list domain domain domain\nendian: little\n"
    listed = np.moveaxis(values.astype("<i2"), 0, -1).tobytes()
    (folder / "e.nrrd").write_bytes(f"{head}encoding: raw\nspace origin: (1,2,3)\n\n".encode() + listed)
    tifffile.imwrite(folder / "f.tif", values, imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(folder / "g.tif", values, ome=True, metadata={"axes": "ZTYX"}, compression="zlib")
    return list_all(folder)


def make_arrays(folder: Path) -> list[Path]:
    np.save(folder / "a.npy", noise(SHAPE).astype(np.int16))
    np.savez_compressed(folder / "b.npz", scan=noise(SHAPE).astype(np.float32))
    np.savez(folder / "c.npz", scan=noise(SHAPE), mask=noise(SHAPE) > 9)
    return list_all(folder)


def make_pictures(folder: Path) -> list[Path]:
    for suffix in ("bmp", "webp", "jp2", "j2k"):
        Picture.fromarray(noise((40, 48, 3)).astype(np.uint8)).save(folder / f"a.{suffix}")
        Picture.fromarray(noise((40, 48)).astype(np.uint8)).save(folder / f"b.{suffix}")
    return list_all(folder)


def make_pairs_and_series(folder: Path) -> list[Path]:
    values = noise((5, 6, 7, 3)).astype("<i2")
    nib.save(nib.Nifti1Pair(values[..., 0], np.eye(4)), folder / "a.img")
    nib.save(nib.Nifti1Pair(values, np.eye(4)), folder / "b.img")
    nib.save(nib.Nifti1Image(values, np.eye(4)), folder / "c.nii.gz")
    nib.save(nib.Nifti2Image(values, np.eye(4)), folder / "d.nii")
    return list_all(folder)


def make_archives(folder: Path) -> list[Path]:
    write_series(folder / "s", noise(SHAPE))
    (folder / "inner").mkdir()
    Picture.fromarray(noise((9, 8)).astype(np.uint8)).save(folder / "p.png")
    files = list_all(folder)
    with zipfile.ZipFile(folder / "inner" / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in files:
            archive.write(folder / path, path)
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        archive.write(folder / "inner" / "a.zip", "a.zip")
        archive.write(folder / "p.png", "p.png")
    return [Path("inner/a.zip"), Path("b.zip")]


def make_dicom_variants(folder: Path) -> list[Path]:
    """Without preamble and meta header, in three ways to write elements; and enhanced files of two phases."""
    for name, (implicit, little) in {"a": (True, True), "b": (False, True), "c": (False, False)}.items():
        slice_ = dataset(noise((16, 18)), (0, 0, 0), (1, 0, 0, 0, 1, 0))
        slice_.file_meta = None
        del slice_.file_meta
        slice_.save_as(folder / name, implicit_vr=implicit, little_endian=little, enforce_file_format=False)

    def frames(n: int) -> dict[str, object]:
        from dicom_files import item

        place = item(ImagePositionPatient=[0, 0, 1.25 * (n % 2)])
        return {"PlanePositionSequence": place, "FrameContentSequence": item(TemporalPositionIndex=n // 2 + 1)}

    write_enhanced(folder / "phases.dcm", noise(SHAPE), frames=frames)
    return list_all(folder)


def make_dicom_labels(folder: Path) -> list[Path]:
    write_series(folder / "s", noise(SHAPE), FrameOfReferenceUID="1.2.9")
    image = formats.read(folder / "s")
    drawn = np.zeros(image.spatial_shape, np.uint8)
    drawn[1:3, 4:9, 4:9] = 1
    drawn[1:3, 4:9, 10:14] = 2
    for kind in ("dicom-seg", "rtstruct"):
        find_label_format(kind).write(folder / f"{kind}.dcm", drawn, image, LabelDescription(get_task("lungs"), "m@1"))
    return [Path("dicom-seg.dcm"), Path("rtstruct.dcm")]


def read_all(folder: Path, target: Path) -> Hashable:
    """Every image that the file holds; a mask, too, where it can be one."""
    if target.suffix in (".raw", ".zraw"):
        target = target.with_suffix(".nhdr" if (folder / target.with_suffix(".nhdr")).exists() else ".mhd")
    if target.suffix == ".img":
        target = target.with_suffix(".hdr")
    found = formats.search_images(folder / target)
    images = [formats.read_source(source) for source in found.sources]
    if target.suffix in (".mha", ".mhd", ".nrrd", ".nhdr"):
        formats.read_mask(folder / target, GRID)
    for image in images[:1]:
        write_labels(folder / "out.tif", np.zeros(image.spatial_shape, np.uint8), image)
    return tuple((image.content_hash, image.spacing_mm) for image in images)


def read_dicom_mask(folder: Path, target: Path) -> Hashable:
    path = folder / target
    values, notes = read_dicom_labels(path, formats.read(folder / "s"))
    return values.tobytes(), notes, str(count_dicom_values(path)), str(read_dicom_label_names(path))


VOLUMES = (
    Family("itk", make_itk, read_all),
    Family("several-volumes", make_several_volumes, read_all),
    Family("arrays", make_arrays, read_all),
    Family("pictures", make_pictures, read_all),
    Family("nifti-parts", make_pairs_and_series, read_all),
    Family("archives", make_archives, read_all),
    Family("dicom-variants", make_dicom_variants, read_all),
    Family("dicom-labels", make_dicom_labels, read_dicom_mask),
)
