"""Every version knows its own training images: fitted at the end of a run, and again by one command."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from training_phantoms import item, phantom

from napari_medseg.core.image import Image
from napari_medseg.core.model_card import DOMAIN_FILE, WEIGHTS_FILE, read_card
from napari_medseg.core.snapshot import Role
from napari_medseg.inference.events import get_result
from napari_medseg.inference.predictor import Predictor
from training.__main__ import main
from training.evaluation import out_of_domain
from training.evaluation.known_features import KnownFeatures
from training.evaluation.out_of_domain import KNOWN_SHARE, fit_domain

MakeRun = Callable[..., Path]


def measure(predictor: Predictor, pixels: np.ndarray) -> float:
    found = get_result(predictor.predict(Image(pixels, "YX")), str).domain_distance
    assert found is not None
    return found


@pytest.fixture
def finished_run(make_run: MakeRun, tmp_path: Path) -> Path:
    items = [item(tmp_path, f"train{n}", Role.TRAIN, seed=n) for n in range(24)]
    items += [item(tmp_path, f"check{n}", Role.VALIDATE, seed=40 + n) for n in range(4)]
    run_dir = make_run("run", [*items, item(tmp_path, "held", Role.HOLD_OUT, seed=60)], n_epochs=1)
    assert main([str(run_dir)]) == 0
    return run_dir


def test_a_trained_version_knows_its_images_and_finds_foreign_ones(finished_run: Path) -> None:
    card = read_card(finished_run / "card.json")
    assert card.domain is not None
    assert card.domain.n_planes == 28
    assert 0.9 <= card.domain.known_share <= 1.0
    predictor = Predictor.load(finished_run, "cpu")
    known = [measure(predictor, phantom(100 + n)[0]) for n in range(20)]
    assert np.mean(np.array(known) > 1.0) <= 0.15
    rng = np.random.default_rng(0)
    foreign = {
        "noise": rng.integers(0, 256, (64, 64)).astype(np.uint8),
        "checks": (np.indices((64, 64)).sum(axis=0) // 8 % 2 * 255).astype(np.uint8),
        "inverted": 255 - phantom(3)[0],
        "black": np.zeros((64, 64), np.uint8),
    }
    assert {name: measure(predictor, pixels) > 1.0 for name, pixels in foreign.items()} == dict.fromkeys(foreign, True)

    before = ((finished_run / DOMAIN_FILE).read_bytes(), card.domain.statistics_sha256)
    (finished_run / DOMAIN_FILE).unlink()
    assert out_of_domain.main([str(finished_run)]) == 0
    again = read_card(finished_run / "card.json")
    assert again.domain is not None
    assert ((finished_run / DOMAIN_FILE).read_bytes(), again.domain.statistics_sha256) == before
    assert again.model_copy(update={"domain": None}) == card.model_copy(update={"domain": None})


def test_a_damaged_file_is_a_notice_and_the_labels_are_the_same(finished_run: Path) -> None:
    image = Image(phantom(1)[0], "YX")
    right = Predictor.load(finished_run, "cpu").predict_labels(image)
    (finished_run / DOMAIN_FILE).write_bytes(b"damaged")
    notices: list[str] = []
    result = get_result(Predictor.load(finished_run, "cpu").predict(image), notices.append)
    np.testing.assert_array_equal(result.labels, right)
    assert result.domain_distance is None
    assert DOMAIN_FILE in notices[0]


def test_a_run_of_few_images_has_no_statistics(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=1)
    assert main([str(run_dir)]) == 0
    assert read_card(run_dir / "card.json").domain is None
    assert not (run_dir / DOMAIN_FILE).exists()
    assert (run_dir / WEIGHTS_FILE).exists()
    assert out_of_domain.main([str(run_dir)]) == 1


def make_known(n_groups: int, n_each: int, spread: float, seed: int = 0, at: float = 0.0) -> KnownFeatures:
    """Groups that differ by `spread`, with planes that differ by 1, in 6 fine and 10 coarse features."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(at, spread, (n_groups, 16))
    groups = np.repeat(np.arange(n_groups), n_each)
    return KnownFeatures(
        centres[groups] + rng.normal(size=(len(groups), 16)), np.full(len(groups), "s"), groups.astype(str), n_fine=6
    )


def test_new_patients_of_a_known_source_are_known_although_each_differs_from_the_others() -> None:
    fitted = fit_domain(make_known(24, 6, spread=3.0))
    assert fitted is not None
    statistics, share = fitted
    assert share == pytest.approx(KNOWN_SHARE, abs=0.02)
    new = make_known(60, 1, spread=3.0, seed=1).features
    assert np.mean(statistics.measure_distances(new) > 1.0) <= 0.1
    assert (statistics.measure_distances(make_known(20, 1, 3.0, seed=2, at=15.0).features) > 1.0).all()


def test_a_retrained_version_still_knows_the_sources_of_its_parent() -> None:
    parent, child = make_known(24, 6, spread=1.0), make_known(8, 6, spread=1.0, seed=5, at=20.0)
    first = fit_domain(parent)
    assert first is not None
    alone, both = fit_domain(child), fit_domain(child, first[0])
    assert alone is not None
    assert both is not None
    assert np.mean(alone[0].measure_distances(parent.features) > 1.0) > 0.9
    assert np.mean(both[0].measure_distances(parent.features) > 1.0) < 0.1
    grandchild = fit_domain(child, both[0])
    assert grandchild is not None
    for _ in range(3):
        grandchild = fit_domain(child, grandchild[0])
        assert grandchild is not None
    assert len(grandchild[0].generations) == 3, "the file does not grow with every retraining"


@pytest.mark.parametrize("features", [np.zeros((40, 16)), np.zeros((3, 16)), np.zeros((0, 0))])
def test_nothing_is_said_without_variation_or_planes(features: np.ndarray) -> None:
    names = np.arange(len(features)).astype(str)
    assert fit_domain(KnownFeatures(features, names, names, n_fine=min(6, features.shape[1]))) is None
