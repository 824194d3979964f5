"""Peak of memory while an image is read, as a multiple of its pixels: `python benchmarks/reading_memory.py`.

Each file is read in a process of its own, so that the peak (maximum resident size) is that of one image. 1.0 means that
nothing is in memory but the pixels. Linux and macOS.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MultiFrameGrayscaleWordSecondaryCaptureImageStorage

N_SLICES, SIDE = 256, 512
COLOUR_SIDE = 6600
_UNIT = 1 if sys.platform == "darwin" else 1024
TILE = (256, 256)


def make_volume() -> NDArray[np.int16]:
    """Return noise of (256, 512, 512) voxels, 134 MB, that does not compress to nothing."""
    return np.random.default_rng(0).integers(-1000, 1000, (N_SLICES, SIDE, SIDE), dtype=np.int16)


def make_colours() -> NDArray[np.uint8]:
    """Return noise of (6600, 6600, 3), 131 MB."""
    return np.random.default_rng(0).integers(0, 255, (COLOUR_SIDE, COLOUR_SIDE, 3), dtype=np.uint8)


def write_tiff(volume: bool, **options: object) -> Callable[[Path], Path]:
    """Return a function that writes a TIFF file with these options of tifffile into a folder."""

    def write(folder: Path) -> Path:
        path = folder / "image.tif"
        pixels: NDArray[Any] = make_volume() if volume else make_colours()
        photometric = "minisblack" if volume else "rgb"
        if options.get("planarconfig") == "separate":
            pixels = np.moveaxis(pixels, -1, 0)
        tifffile.imwrite(path, pixels, photometric=photometric, **options)
        return path

    return write


def write_nifti(name: str, dtype: type[np.generic], slope: float = 1.0) -> Callable[[Path], Path]:
    """Return a function that writes a NIfTI file into a folder."""

    def write(folder: Path) -> Path:
        source = nib.Nifti1Image(make_volume().astype(dtype), np.diag([-1.0, -1.0, 1.0, 1.0]))
        source.header.set_slope_inter(slope, 0)
        nib.save(source, folder / name)
        return folder / name

    return write


def write_dicom_series(folder: Path) -> Path:
    """Write one file for each slice."""
    for number, plane in enumerate(make_volume()):
        dataset = _make_dataset(plane, CTImageStorage)
        dataset.ImagePositionPatient = [0, 0, number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.SOPInstanceUID = f"1.2.3.{number + 1}"
        dcmwrite(folder / f"{number}.dcm", dataset, enforce_file_format=True)
    return folder


def write_dicom_frames(folder: Path) -> Path:
    """Write one file of many frames."""
    dataset = _make_dataset(make_volume(), MultiFrameGrayscaleWordSecondaryCaptureImageStorage)
    dataset.NumberOfFrames = N_SLICES
    dcmwrite(folder / "frames.dcm", dataset, enforce_file_format=True)
    return folder / "frames.dcm"


def write_picture(name: str) -> Callable[[Path], Path]:
    """Return a function that writes a PNG or JPEG into a folder."""

    def write(folder: Path) -> Path:
        Picture.fromarray(make_colours()).save(folder / name)
        return folder / name

    return write


KINDS: dict[str, Callable[[Path], Path]] = {
    "TIFF, plain": write_tiff(False),
    "TIFF, tiled": write_tiff(False, tile=TILE),
    "TIFF, strips, zlib": write_tiff(False, compression="zlib"),
    "TIFF, tiles, zlib, predictor": write_tiff(False, compression="zlib", tile=TILE, predictor=True),
    "TIFF, separate planes": write_tiff(False, planarconfig="separate"),
    "TIFF, separate planes, tiled": write_tiff(False, planarconfig="separate", tile=TILE),
    "TIFF, separate planes, zlib": write_tiff(False, planarconfig="separate", compression="zlib"),
    "TIFF, many pages": write_tiff(True),
    "TIFF, many pages, big-endian": write_tiff(True, byteorder=">"),
    "TIFF, many pages, zlib": write_tiff(True, compression="zlib"),
    "NIfTI, 16 bits": write_nifti("image.nii", np.int16),
    "NIfTI, 16 bits, gzip": write_nifti("image.nii.gz", np.int16),
    "NIfTI, 16 bits with a slope": write_nifti("image.nii.gz", np.int16, 0.5),
    "NIfTI, float32, gzip": write_nifti("image.nii.gz", np.float32),
    "DICOM, a file for each slice": write_dicom_series,
    "DICOM, one file": write_dicom_frames,
    "PNG": write_picture("image.png"),
    "JPEG": write_picture("image.jpg"),
}


def main() -> None:
    """Measure the kinds whose names start with a text, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start", nargs="?", default="", help="only kinds that start with this")
    parser.add_argument("--write", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        print(KINDS[options.write[0]](Path(options.write[1])))
    elif options.read is not None:
        _read_and_print(options.read)
    else:
        print(f"{'kind':32}{'peak / pixels':>14}{'pixels (MB)':>13}", flush=True)
        for kind in KINDS:
            if kind.startswith(options.start):
                _measure_and_print(kind)


def _measure_and_print(kind: str) -> None:
    # Not even the file is made in this process: on Linux a new process starts with the peak of the one that starts it.
    with tempfile.TemporaryDirectory() as folder:
        path = _call_itself("--write", kind, folder).strip()
        peak, pixels = map(int, _call_itself("--read", path).split())
    print(f"{kind:32}{peak / pixels:>14.2f}{pixels / 1e6:>13.0f}", flush=True)


def _call_itself(*words: str) -> str:
    return subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True).stdout


def _read_and_print(path: Path) -> None:
    from napari_medseg.core import formats

    before = psutil.Process().memory_info().rss
    image = formats.read(path)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT - before, image.pixels.nbytes)


def _make_dataset(pixels: NDArray[np.int16], sop_class: str) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = sop_class, "1.2.3.1", "1.2.3"
    dataset.PatientID, dataset.Modality, dataset.PixelSpacing = "phantom", "CT", [1, 1]
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.PixelData = pixels.tobytes()
    return dataset


if __name__ == "__main__":
    main()
