"""The table of `docs/formats.md` of where other programs find labels: python tests/core/label_files/places_table.py."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "dicom")]

from written_labels import LUNGS, SERIES, TILTED, draw, series

from napari_medseg.core.formats.gantry_tilt import is_sheared, straighten_affine
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.registry import find_label_format

KINDS: dict[str, Callable[[Path], Image]] = {**SERIES, "tilted": series((5, 6, 7), step=TILTED)}
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
Found = tuple[np.ndarray, np.ndarray]
"""Values, and the matrix from their index to RAS millimetres."""


def read_with_nibabel(path: Path) -> Found:
    seen = nib.load(path)
    return np.asarray(seen.dataobj).reshape((*seen.shape, 1)[:3]), seen.affine


def read_with_itk(path: Path) -> Found:
    seen = sitk.ReadImage(str(path))
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(seen.GetDirection()).reshape(3, 3) * np.array(seen.GetSpacing())
    matrix[:3, 3] = seen.GetOrigin()
    return sitk.GetArrayFromImage(seen).T, LPS_RAS @ matrix


def read_with_highdicom(path: Path) -> Found:
    import highdicom

    seen = highdicom.seg.segread(path)
    volume = seen.get_volume(combine_segments=True, relabel=False, allow_missing_positions=True)
    value_of = {one.SegmentNumber: int(one.TrackingID) for one in seen.SegmentSequence}
    values = np.zeros_like(volume.array)
    for number, value in value_of.items():
        values[volume.array == number] = value
    return values, LPS_RAS @ volume.affine


READERS: tuple[tuple[str, str, Callable[[Path], Found]], ...] = (
    (".nii.gz", "nibabel", read_with_nibabel),
    (".nii.gz", "SimpleITK", read_with_itk),
    (".mha", "SimpleITK", read_with_itk),
    (".nrrd", "SimpleITK", read_with_itk),
    (".seg.nrrd", "SimpleITK", read_with_itk),
    (".seg.dcm", "highdicom", read_with_highdicom),
)
NO_VOLUME = {"highdicom": ("tilted",)}
"""Series of which a program makes no volume; its frames are compared in `test_dicom_objects.py`."""


def measure(image: Image, suffix: str, program: str, read: Callable[[Path], Found]) -> tuple[float, float, int]:
    """Return the largest differences of a label: centroid in mm, volume in mm3, and voxels."""
    labels = draw(image)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"l{suffix}"
        find_label_format(suffix).write(path, labels, image, LUNGS)
        values, matrix = read(path)
    assert image.affine is not None
    expected = image.affine
    if program == "SimpleITK" and labels.ndim == 3 and is_sheared(expected):  # ITK reads such a series straightened
        expected = straighten_affine(expected, 0)
    distance = volume = 0.0
    voxels = 0
    for value in (1, 2):
        drawn, seen = np.argwhere(labels == value), np.argwhere(values == value)
        voxels = max(voxels, abs(len(drawn) - len(seen)))
        index = [*[0.0] * (3 - drawn.shape[1]), *drawn.mean(axis=0), 1.0]
        found = matrix @ [*seen.mean(axis=0), 1.0]
        distance = max(distance, float(np.linalg.norm((found - expected @ index)[:3])))
        one, other = (abs(np.linalg.det(each[:3, :3])) for each in (expected, matrix))
        if labels.ndim == 3:
            volume = max(volume, abs(len(drawn) * one - len(seen) * other))
    return distance, volume, voxels


def make_table() -> str:
    lines = ["| written | read by | series | centroid, mm | volume, mm³ | voxels |", "|---|---|---:|---:|---:|---:|"]
    for suffix, program, read in READERS:
        rows = []
        for name, make in KINDS.items():
            if name in NO_VOLUME.get(program, ()):
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(make(Path(folder)), suffix, program, read))
        distance, volume, voxels = np.array(rows).max(axis=0)
        lines.append(f"| `{suffix}` | {program} | {len(rows)} | {distance:.1g} | {volume:.1g} | {voxels:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(make_table() + "\n")
