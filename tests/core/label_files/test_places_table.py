"""The table of `docs/formats.md` holds: other programs find each label within 1e-3 mm, and every voxel."""

from collections.abc import Callable
from pathlib import Path

import pytest
from places_table import KINDS, NO_VOLUME, READERS, Found, measure


@pytest.mark.parametrize(("suffix", "program", "read"), READERS, ids=[f"{one[0]} {one[1]}" for one in READERS])
@pytest.mark.parametrize("name", ["oblique", "anisotropic", "one row", "one slice", "tilted"])
def test_other_programs_find_centroid_volume_and_voxels(
    tmp_path: Path, name: str, suffix: str, program: str, read: Callable[[Path], Found]
) -> None:
    if name in NO_VOLUME.get(program, ()):
        pytest.skip(f"{program} makes no volume of it; its frames are compared in test_dicom_objects.py")
    if program == "highdicom":
        pytest.importorskip("highdicom")
    distance, volume, voxels = measure(KINDS[name](tmp_path), suffix, program, read)
    assert distance < 1e-3
    assert volume < 1e-3
    assert voxels == 0
