"""Damaged images and labels: every format that the program reads."""

import shutil
from collections.abc import Hashable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom.data
import tifffile
from dicom_files import write_enhanced, write_series
from fuzzing import Family
from napari_medseg.core.formats.coco import read_coco
from napari_medseg.core.formats.polygons import rasterise_labels, read_aperio
from PIL import Image as Picture

from napari_medseg.core import formats
from napari_medseg.core.image import Image

PYDICOM_FILES = Path(pydicom.data.__file__).parent / "test_files"
DICOM_FILES = (
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "JPEG2000.dcm",
    "SC_rgb_rle.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "image_dfl.dcm",
    "emri_small.dcm",
    "examples_palette.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "rtplan.dcm",
)
SHAPE = (40, 48)


def noise(shape: tuple[int, ...], dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def make_dicom(folder: Path) -> list[Path]:
    for name in DICOM_FILES:
        if (PYDICOM_FILES / name).is_file():
            shutil.copyfile(PYDICOM_FILES / name, folder / name)
    write_enhanced(folder / "enhanced.dcm", noise((4, *SHAPE), "uint16"))
    return [path.relative_to(folder) for path in folder.iterdir()]


def make_dicom_series(folder: Path) -> list[Path]:
    write_series(folder, noise((5, *SHAPE), "uint16"))
    return [path.relative_to(folder) for path in folder.iterdir()]


def make_nifti(folder: Path) -> list[Path]:
    affine = np.diag([0.7, 0.8, 2.5, 1.0])
    nib.save(nib.Nifti1Image(noise((8, *SHAPE), "int16"), affine), folder / "a.nii")
    nib.save(nib.Nifti2Image(noise((8, *SHAPE), "float32"), affine), folder / "b.nii")
    colours = noise((8, 9, 3, 3)).view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nib.save(nib.Nifti1Image(colours, affine), folder / "c.nii")
    return [Path("a.nii"), Path("b.nii"), Path("c.nii")]


def make_nifti_gz(folder: Path) -> list[Path]:
    nib.save(nib.Nifti1Image(noise((8, *SHAPE), "int16"), np.diag([0.7, 0.8, 2.5, 1.0])), folder / "a.nii.gz")
    image = Image(noise((4, *SHAPE)), "ZYX", (2.0, 0.5, 0.5), name="b")
    formats.write_labels(folder / "b.nii.gz", (image.pixels > 100).astype(np.uint8), image)
    return [Path("a.nii.gz"), Path("b.nii.gz")]


def make_tiff(folder: Path) -> list[Path]:
    grey, colour = noise(SHAPE, "uint16"), noise((*SHAPE, 3))
    tifffile.imwrite(folder / "grey.tif", grey)
    tifffile.imwrite(folder / "lzw.tif", grey, compression="lzw", predictor=True)
    tifffile.imwrite(folder / "tiles.tif", colour, photometric="rgb", tile=(16, 16), compression="zlib")
    tifffile.imwrite(folder / "jpeg.tif", colour, photometric="rgb", compression="jpeg")
    tifffile.imwrite(folder / "planar.tif", np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(folder / "imagej.tif", noise((3, *SHAPE)), imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "ome.tif", noise((3, *SHAPE)), ome=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(folder / "bigtiff.tif", grey, bigtiff=True, byteorder=">")
    Picture.fromarray(noise(SHAPE) > 100).save(folder / "fax.tif", compression="group4")
    formats.write_image(folder / "own.tif", Image(grey, "YX", (0.5, 0.5), name="own"))
    return [path.relative_to(folder) for path in folder.iterdir()]


def make_png(folder: Path) -> list[Path]:
    Picture.fromarray(noise(SHAPE)).save(folder / "grey.png", dpi=(254, 254))
    Picture.fromarray(noise(SHAPE, "uint16")).save(folder / "deep.png")
    Picture.fromarray(noise((*SHAPE, 3))).quantize(16).save(folder / "palette.png")
    image = Image(noise((*SHAPE, 3)), "YXC", (0.5, 0.5), units="rgb", name="own")
    formats.write_image(folder / "own.png", image)
    formats.write_labels(folder / "labels.png", noise(SHAPE), image)
    return [path.relative_to(folder) for path in folder.iterdir()]


def make_jpeg(folder: Path) -> list[Path]:
    Picture.fromarray(noise((*SHAPE, 3))).save(folder / "colour.jpg", dpi=(254, 254))
    Picture.fromarray(noise(SHAPE)).save(folder / "grey.jpeg", progressive=True)
    turned = Picture.Exif()
    turned[0x112] = 6
    Picture.fromarray(noise((*SHAPE, 3))).save(folder / "turned.jpg", exif=turned)
    return [path.relative_to(folder) for path in folder.iterdir()]


COCO = """{"images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 48}], "annotations": [
{"image_id": 1, "category_id": 1, "segmentation": [[5, 5, 30, 5, 30, 20, 5, 20]]},
{"image_id": 1, "category_id": 2, "segmentation": {"size": [40, 48], "counts": [100, 20, 1800]}}],
"categories": [{"id": 1, "name": "nucleus"}, {"id": 2, "name": "gland"}]}"""
APERIO = """<Annotations><Annotation Name="nucleus"><Regions><Region NegativeROA="0"><Vertices><Vertex X="5" Y="5"/>
<Vertex X="30" Y="5"/><Vertex X="30" Y="20"/></Vertices></Region></Regions></Annotation></Annotations>"""


def make_outlines(folder: Path) -> list[Path]:
    (folder / "a.json").write_text(COCO)
    (folder / "b.xml").write_text(APERIO)
    return [Path("a.json"), Path("b.xml")]


def read_image(folder: Path, target: Path) -> Hashable:
    image = formats.read(folder / target)
    return image.content_hash, image.axes, image.spacing_mm


def read_folder(folder: Path, target: Path) -> Hashable:
    return tuple(sorted(type(one).__name__ for one in formats.read_images([folder])))


def read_image_and_labels(folder: Path, target: Path) -> Hashable:
    """The file as an image, and as labels on an image of its size."""
    image = formats.read(folder / target)
    grid = Image(np.zeros(SHAPE, np.uint8), "YX", (0.5, 0.5), name="grid")
    labels = formats.read_labels(folder / target, grid if image.spatial_shape == SHAPE else None)
    return image.content_hash, image.axes, image.spacing_mm, labels.tobytes()


def read_outlines(folder: Path, target: Path) -> Hashable:
    path = folder / target
    if path.suffix == ".xml":
        objects = read_aperio(path)
        return rasterise_labels(objects, SHAPE, None).tobytes()
    found = read_coco(path)
    return tuple(rasterise_labels(one.objects, one.shape or SHAPE, None).tobytes() for one in found.images)


FORMATS = (
    Family("dicom", make_dicom, read_image),
    Family("dicom-series", make_dicom_series, read_folder),
    Family("nifti", make_nifti, read_image),
    Family("nifti-gz", make_nifti_gz, read_image_and_labels, has_checksum=lambda path: True),
    Family("tiff", make_tiff, read_image_and_labels),
    Family("png", make_png, read_image_and_labels, has_checksum=lambda path: True),
    Family("jpeg", make_jpeg, read_image),
    Family("outlines", make_outlines, read_outlines),
)
