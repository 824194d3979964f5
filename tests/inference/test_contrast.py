import numpy as np
import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, Preprocessing
from napari_medseg.inference.contrast import PREPROCESSING_STEPS, apply_preprocessing_steps
from napari_medseg.inference.preprocess import prepare


def dark(*shape: int) -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 0.2).astype(np.float32)


@pytest.mark.parametrize("name", PREPROCESSING_STEPS)
@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 3)])
def test_steps_keep_shape_type_and_range(name: str, shape: tuple[int, ...]) -> None:
    changed = apply_preprocessing_steps(dark(*shape), [name])
    assert (changed.shape, changed.dtype) == (shape, np.float32)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_equalised_brightness_is_spread_and_colours_keep_their_proportions() -> None:
    picture = dark(64, 64, 3) + 0.01
    changed = apply_preprocessing_steps(picture, ["equalise"])
    brightness = changed.max(axis=-1)
    assert np.percentile(brightness, 90) > 0.85
    np.testing.assert_allclose(changed[..., 0] / changed[..., 1], picture[..., 0] / picture[..., 1], rtol=1e-3)


def test_smoothing_takes_noise_away_and_keeps_the_mean() -> None:
    picture = dark(64, 64)
    changed = apply_preprocessing_steps(picture, ["smooth"])
    assert changed.std() < 0.5 * picture.std()
    assert changed.mean() == pytest.approx(picture.mean(), rel=0.02)


def test_an_unknown_step_lists_the_choices() -> None:
    with pytest.raises(MedSegError, match="clahe"):
        apply_preprocessing_steps(dark(8, 8), ["sharpen"])


def test_the_card_decides() -> None:
    image = Image((dark(64, 64) * 255).astype(np.uint8), "YX")

    def planes(*steps: str) -> np.ndarray:
        card = ModelCard(
            name="a",
            version=1,
            task="lungs",
            architecture=Architecture(name="unet", in_channels=1, classes=2),
            preprocessing=Preprocessing.model_validate({"min_side_px": 32, "steps": steps}),
        )
        return prepare(image, card).planes

    plain, smooth = planes(), planes("smooth")
    assert plain.shape == smooth.shape
    assert smooth.std() < 0.6 * plain.std()
