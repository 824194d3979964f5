"""Images that no model of this program learnt from, of the kinds that people drop by mistake.

They come with pydicom, nibabel, scikit-image and napari, or are noise; images of the other tasks come from a folder. A
kind counts images of one series or volume more than once: `FOREIGN_NOTE` says where.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import pixel_array
from scipy import ndimage

from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image

FOREIGN_NOTE = "ultrasound: 5 recordings, MR: 5 scans, fluorescence: one image and its channels, no mammography ships"
PHOTOGRAPHS = (
    *("astronaut", "camera", "chelsea", "coffee", "coins", "rocket", "motorcycle_left", "motorcycle_right", "brick"),
    *("grass", "gravel", "page", "text", "horse", "clock_motion", "color", "hubble_deep_field", "moon", "logo"),
)
OTHER_TASKS = {
    "H&E": ("nuclei", "nuclei/monuseg/images"),
    "H&E, DSB": ("nuclei", "nuclei/dsb2018/images"),
    "endoscopy": ("instruments", "instruments/images"),
    "laryngoscopy": ("larynx", "larynx/images"),
    "chest X-ray": ("lungs", "lungs/xray_kermany/images"),
    "CT slices, chest": ("lungs covid", "covid/ct20/images"),
}
"""The tasks that know a kind, and its folder."""


def list_foreign_images(task: str, data: Path | None, n_each: int = 10) -> Iterator[tuple[str, str, Image]]:
    """Yield kind, name and image of everything foreign to a task.

    Parameters
    ----------
    task
        Name of a bundled task.
    data
        Folder with the images of all tasks; `None` for those of packages only.
    n_each
        Number of images of each other task.
    """
    for kind, (tasks, folder) in OTHER_TASKS.items():
        if data is None or task in tasks.split() or not (data / folder).is_dir():
            continue
        files = [path for path in sorted((data / folder).iterdir()) if formats.can_read(path)]
        for path in files[:: max(1, len(files) // n_each)][:n_each]:
            yield kind, path.stem, formats.read(path)
    for kind, name, pixels in _list_packaged():
        yield kind, name, _make_image(pixels, name)
    for name, pixels in _make_noise(in_colour=task in ("nuclei", "instruments")):
        yield "noise", name, _make_image(pixels, name)


def _make_image(pixels: NDArray[Any], name: str) -> Image:
    pixels = np.ascontiguousarray(pixels)
    is_rgb = pixels.ndim == 3
    return Image(pixels, "YXC" if is_rgb else "YX", units="RGB" if is_rgb else "grey", name=name)


def _find_package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise MedSegError(f"the package {name} is not installed. Install it, then measure again.")
    return Path(spec.origin).parent


def _list_packaged() -> Iterator[tuple[str, str, NDArray[Any]]]:
    dicom = _find_package("pydicom") / "data" / "test_files"
    for name in ("ExplVR_BigEnd", "examples_jpeg2k", "examples_rgb_color"):
        yield "ultrasound", name, pydicom.dcmread(dicom / f"{name}.dcm").pixel_array
    frames = pixel_array(dicom / "examples_ybr_color.dcm")
    for frame in range(0, len(frames), 5):
        yield "ultrasound", f"examples_ybr_color {frame}", frames[frame]
    for name in ("examples_overlay", "MR_small"):
        yield "MR", name, pydicom.dcmread(dicom / f"{name}.dcm").pixel_array
    yield "scintigraphy", "JPEG2000", pydicom.dcmread(dicom / "JPEG2000.dcm").pixel_array
    yield from _list_mr_slices(_find_package("nibabel") / "tests" / "data")
    pictures = _find_package("skimage") / "data"
    for name in PHOTOGRAPHS:
        yield "photograph", name, _read_picture(pictures, name)
    for index, face in enumerate(np.load(pictures / "lfw_subset.npy")[:100:20]):
        yield "photograph", f"face {index}", (face * 255).astype(np.uint8)
    for kind, name in (("retina", "retina"), ("retina", "microaneurysms"), ("immunohistochemistry", "ihc")):
        yield kind, name, _read_picture(pictures, name)
    cells = _read_picture(_find_package("napari") / "resources", "multichannel_cells")
    yield "fluorescence", "cells", cells
    for channel in range(3):
        yield "fluorescence", f"cells, channel {channel}", cells[..., channel]


def _list_mr_slices(folder: Path) -> Iterator[tuple[str, str, NDArray[Any]]]:
    anatomy = np.asarray(nibabel.load(folder / "anatomical.nii").dataobj, dtype=np.float32)
    for index in range(4, anatomy.shape[2] - 3, 3):
        yield "MR", f"anatomical, axial {index}", np.rot90(anatomy[:, :, index])
    for index in range(4, anatomy.shape[0] - 3, 4):
        yield "MR", f"anatomical, sagittal {index}", np.rot90(anatomy[index])
    for name in ("functional.nii", "example4d.nii.gz"):
        series = np.asarray(nibabel.load(folder / name).dataobj, dtype=np.float32)[..., 0]
        for index in range(1, series.shape[2] - 1, max(1, series.shape[2] // 4)):
            yield "MR", f"{name} {index}", np.rot90(series[:, :, index])


def _read_picture(folder: Path, name: str) -> NDArray[Any]:
    pixels = imageio.imread(next(path for path in folder.glob(f"{name}.*") if path.suffix in (".png", ".jpg")))
    pixels = pixels[..., :3] if pixels.ndim == 3 else pixels
    return pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels


def _make_noise(*, in_colour: bool) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Noise of ten grain sizes, uniform noise, one grey, black, and white specks."""
    shape, rng = ((512, 512, 3) if in_colour else (512, 512)), np.random.default_rng(0)
    for sigma in (0, 0.5, 1, 2, 3, 4, 8, 16, 32, 64):
        noise = ndimage.gaussian_filter(rng.normal(size=shape), (sigma, sigma, 0)[: len(shape)])
        yield f"grain {sigma}", np.clip((noise - noise.mean()) / noise.std() * 50 + 128, 0, 255).astype(np.uint8)
    yield "uniform", rng.integers(0, 256, shape).astype(np.uint8)
    yield "grey", np.full(shape, 127, np.uint8)
    yield "black", np.zeros(shape, np.uint8)
    specks = (rng.random(shape[:2]) < 0.02).astype(np.uint8) * np.uint8(255)
    yield "specks", np.repeat(specks[..., np.newaxis], 3, axis=2) if in_colour else specks
