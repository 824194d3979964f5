"""An adapted state drafts what is like its cases; what is like older images is left to the version."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.out_of_domain.statistics import LEARNT_FILE, load_statistics
from napari_medseg.networks import load_version, save_version
from training.adapt.learnt_cases import choose_drafted, describe_learnt_cases, write_learnt_cases
from training.data.dataset import LabelledImage, LabelledPlane
from training.evaluation.known_features import collect_features, pool_planes
from training.evaluation.out_of_domain import describe_domain


@pytest.fixture
def known_version(tmp_path: Path, base_version: Path) -> Path:
    """The base version with statistics of dark planes."""
    folder = tmp_path / "known"
    network, card = load_version(base_version)
    card = save_version(network, card, folder)
    images = [LabelledImage(f"dark {seed}", (make_plane(seed, -3.0),), source="dark") for seed in range(14)]
    groups = {image.name: image.name for image in images}
    assert describe_domain(network, card, collect_features(network, images, groups), folder).domain is not None
    return folder


def make_pixels(seed: int, grey: float) -> NDArray[np.float16]:
    return np.random.default_rng(seed).normal(grey, 0.1, (1, 64, 64)).astype(np.float16)


def make_plane(seed: int, grey: float) -> LabelledPlane:
    return LabelledPlane((make_pixels(seed, grey),), np.zeros((64, 64), np.uint8))


def test_images_like_the_learnt_cases_are_told_from_those_like_the_training_images(known_version: Path) -> None:
    network, card = load_version(known_version)
    statistics, _ = load_statistics(known_version, card)
    assert statistics is not None
    bright = [pool_planes(network, [make_pixels(seed, 2.0)])[0][0][np.newaxis] for seed in (20, 21)]
    dark = pool_planes(network, [make_pixels(22, -3.0)])[0][0][np.newaxis]
    assert not statistics.is_like_training(dark), "a version that learnt nothing since drafts all"

    learnt = describe_learnt_cases(network, [LabelledImage("new", (make_plane(23, 2.0),))], statistics)
    assert learnt is not None
    write_learnt_cases(learnt, known_version)
    adapted, _ = load_statistics(known_version, card)
    assert adapted is not None
    assert adapted.is_like_training(dark)
    assert not any(adapted.is_like_training(features) for features in bright)
    assert adapted.measure_image(dark) == statistics.measure_image(dark), "what is unlike stays so"

    (known_version / LEARNT_FILE).write_bytes(b"damaged")
    with pytest.raises(MedSegError, match="learnt_cases"):
        load_statistics(known_version, card)


def test_replayed_planes_that_the_version_drafts_do_not_count(known_version: Path) -> None:
    network, card = load_version(known_version)
    statistics, _ = load_statistics(known_version, card)
    known, new = make_plane(31, -3.0), make_plane(32, 2.0)
    learnt = describe_learnt_cases(network, [LabelledImage("new", (make_plane(33, 2.0),))], statistics)
    assert choose_drafted(network, [known, new], statistics, learnt) == [new]
    assert choose_drafted(network, [known, new], None, None) == [known, new], "a version without statistics"
