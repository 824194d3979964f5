from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from napari_medseg.core.errors import MedSegError
from training.from_folders.image_kind import detect_image_kind


def test_the_kind_of_images_is_seen(tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(20, 200, (48, 64)).astype(np.uint8)
    for name, pixels in {"grey": grey, "red": np.stack([grey, grey // 3, grey // 3], axis=-1)}.items():
        (tmp_path / name).mkdir()
        Picture.fromarray(pixels).save(tmp_path / name / "a.png")
    (tmp_path / "ct").mkdir()
    tifffile.imwrite(tmp_path / "ct" / "broken.tif", np.zeros(0, np.uint8))
    assert detect_image_kind(tmp_path / "grey") == "grey"
    assert detect_image_kind(tmp_path / "red") == "colour"
    with pytest.raises(MedSegError, match="no image that can be read"):
        detect_image_kind(tmp_path / "ct")
