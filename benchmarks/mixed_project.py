"""A project of 50 slides, 20 videos and 3,000 series for benchmarks: its sources are small, but real files.

Fields of slides are cases of `nuclei`, frames of `instruments`, series of `lungs`. A share of the series is predicted
or accepted. Some sources of each kind are removed or damaged afterwards, as it happens on the disk of a department.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pydicom
import tifffile
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

from napari_medseg.core import formats
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.slides.fields import Field
from napari_medseg.core.video.frame_paths import VideoFrames
from napari_medseg.inference.events import PredictionResult
from napari_medseg.workflow.cases import add_cases
from napari_medseg.workflow.review import accept, open_review, record_prediction
from napari_medseg.workflow.slides.slide_fields import read_fields
from napari_medseg.workflow.workspace import Workspace

SLIDE_PX, FIELD_PX, FRAMES, SERIES_PX, N_SLICES = 4096, 512, 500, 96, 4
CASES_PER_SOURCE = 20
"""Fields of a slide, and frames of a video."""
BATCH = 250
PREDICTED_OF_10, ACCEPTED_OF_10 = 3, 2
BROKEN_FILE = "broken.json"


@dataclass(frozen=True)
class Sizes:
    """How many sources the project has."""

    n_slides: int = 50
    n_videos: int = 20
    n_series: int = 3000


def build_project(folder: Path, sizes: Sizes) -> None:
    """Write the sources, add their cases, and then remove or damage some of the sources."""
    slides, videos, series = (folder / name for name in ("slides", "videos", "series"))
    for place in (slides, videos, series):
        place.mkdir(parents=True, exist_ok=True)
    ws = Workspace.open(folder / "project", folder / "registry")
    for number in range(sizes.n_slides):
        add_cases(ws, list(_read_fields(write_slide(slides / f"slide_{number:03}.tif", number))), "nuclei")
    for number in range(sizes.n_videos):
        add_cases(ws, list(_read_frames(write_video(videos / f"video_{number:03}.mp4", number))), "instruments")
    for begin in range(0, sizes.n_series, BATCH):
        numbers = range(begin, min(begin + BATCH, sizes.n_series))
        images = [formats.read_series(write_series(series / f"series_{number:04}", number)) for number in numbers]
        for number, image, case in zip(numbers, images, add_cases(ws, images, "lungs"), strict=True):
            _work_on(ws, number, image, case)
        print(f"{begin + BATCH} series", flush=True)
    ws.close()
    (folder / BROKEN_FILE).write_text(json.dumps(break_sources(folder), indent=2) + "\n", encoding="utf-8")


def break_sources(folder: Path) -> dict[str, list[str]]:
    """Remove and cut some sources of each kind; return their names."""
    removed, cut = [], []
    for kind, pattern, n_broken in (("slides", "*.tif", 2), ("videos", "*.mp4", 2), ("series", "series_*", 10)):
        sources = sorted((folder / kind).glob(pattern))
        for path in sources[1 : 1 + n_broken]:
            removed.append(path.name)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in sources[1 + n_broken : 1 + 2 * n_broken]:
            cut.append(path.name)
            for file in sorted(path.glob("*")) if path.is_dir() else [path]:
                with file.open("r+b") as opened:
                    opened.truncate(file.stat().st_size // 3)
    return {"removed": removed, "cut": cut}


def write_slide(path: Path, seed: int) -> Path:
    """Write a pyramid of pink tissue whose grain is different in each slide."""
    random = np.random.default_rng(seed)
    coarse = random.integers(90, 250, (SLIDE_PX // 64, SLIDE_PX // 64, 3)).astype(np.uint8)
    picture = np.repeat(np.repeat(coarse, 64, 0), 64, 1)
    picture += random.integers(0, 6, (SLIDE_PX, SLIDE_PX, 1), np.uint8)
    options: dict[str, Any] = {"tile": (256, 256), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        per_cm = (40_000, 40_000)
        tiff.write(picture, subifds=2, resolution=per_cm, resolutionunit="CENTIMETER", **options)
        for factor in (4, 16):
            tiff.write(np.ascontiguousarray(picture[::factor, ::factor]), subfiletype=1, **options)
    return path


def write_video(path: Path, seed: int) -> Path:
    """Write a video of a pattern that moves."""
    random = np.random.default_rng(seed)
    picture = ndimage.zoom(random.integers(0, 255, (40, 50, 3)).astype(np.uint8), (20, 20, 1), order=1)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(FRAMES):
            top, left = number % 400, number % 320
            pixels = np.ascontiguousarray(picture[top : top + 360, left : left + 640])
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_series(folder: Path, seed: int) -> list[Path]:
    """Write a CT of a few slices as DICOM files of its own patient."""
    folder.mkdir(parents=True, exist_ok=True)
    random, study, series = np.random.default_rng(seed), generate_uid(), generate_uid()
    files = []
    for number in range(N_SLICES):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number}.dcm"
        file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.StudyInstanceUID, file.SeriesInstanceUID, file.PatientID = study, series, f"P{seed:05}"
        file.Modality, file.BodyPartExamined, file.InstanceNumber = "CT", "CHEST", number + 1
        file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, 5.0 * number], [1, 0, 0, 0, 1, 0]
        file.PixelSpacing, file.SliceThickness = [3.0, 3.0], 5.0
        file.Rows = file.Columns = SERIES_PX
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 1
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.RescaleSlope, file.RescaleIntercept = 1, 0
        file.PixelData = random.integers(-1000, 400, (SERIES_PX, SERIES_PX)).astype("<i2").tobytes()
        pydicom.dcmwrite(path, file, enforce_file_format=True)
        files.append(path)
    return files


def _read_fields(slide: Path) -> Iterator[Image]:
    places = np.random.default_rng(0).integers(0, (SLIDE_PX - FIELD_PX) // 64, (CASES_PER_SOURCE, 2)) * 64
    for read in read_fields([Field(slide, 0, int(y), int(x), FIELD_PX, FIELD_PX) for y, x in places]):
        if isinstance(read, Image):
            yield read


def _read_frames(video: Path) -> Iterator[Image]:
    for number in range(0, FRAMES, FRAMES // CASES_PER_SOURCE):
        yield formats.read(VideoFrames(video, (number,)).path)


def _work_on(ws: Workspace, number: int, image: Image, case: Case) -> None:
    """Predict some of the cases, and accept some of these."""
    if number % 10 >= PREDICTED_OF_10 + ACCEPTED_OF_10:
        return
    labels: NDArray[np.uint8] = np.zeros(image.spatial_shape, np.uint8)
    labels[:, 20:60, 10:40], labels[:, 20:60, 50:80] = 1, 2
    result = PredictionResult(labels, number % 100 / 100, None, 1.0, "CPU")
    prediction = record_prediction(ws, case, result, "lungs-unet@4")
    if number % 10 < ACCEPTED_OF_10:
        review = open_review(ws, case, prediction)
        review.add_seconds(20.0)
        accept(ws, review, labels, image)
