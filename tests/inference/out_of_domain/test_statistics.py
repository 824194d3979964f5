"""Statistics of training images: how far an image is from them, and how they are kept beside the weights."""

from pathlib import Path

import numpy as np
import pytest

from napari_medseg.core.model_card import DOMAIN_FILE, Architecture, DomainCheck, ModelCard, Preprocessing
from napari_medseg.inference.out_of_domain.statistics import (
    DomainStatistics,
    SourceGaussians,
    load_statistics,
    write_statistics,
)


def make_group(n_features: int, means: list[float]) -> SourceGaussians:
    """Sources at `means` along the first feature, with variance 4 there and 1 elsewhere."""
    centres = np.zeros((len(means), n_features))
    centres[:, 0] = means
    along = np.eye(n_features)[:1]
    return SourceGaussians(np.zeros(n_features), np.ones(n_features), centres, along, np.array([4.0]), 1.0)


def make_statistics() -> DomainStatistics:
    return DomainStatistics(((make_group(2, [0.0, 10.0]), make_group(3, [0.0])),))


def make_card(sha256: str | None, threshold: float = 1.0) -> ModelCard:
    return ModelCard(
        name="tiny",
        version=1,
        task="lungs",
        architecture=Architecture(name="conv_unet", in_channels=1, classes=3),
        preprocessing=Preprocessing(),
        domain=None if sha256 is None else DomainCheck(statistics_sha256=sha256, threshold=threshold),
    )


def test_the_nearest_source_and_the_group_of_features_that_is_farthest_count() -> None:
    statistics = make_statistics()
    rows = np.array([[0, 0, 0, 0, 0], [10, 3, 0, 0, 0], [4, 0, 0, 0, 0], [0, 0, 0, 5, 0], [10, 1, 2, 0, 0]])
    np.testing.assert_allclose(statistics.measure_distances(rows.astype(np.float32)), [0, 3, 2, 5, 1])


def test_an_image_is_as_far_as_its_middle_plane_and_other_networks_are_not_judged() -> None:
    statistics = make_statistics()
    planes = np.zeros((5, 5))
    planes[:, 1] = [0.5, 0.5, 2.0, 30.0, 40.0]
    assert statistics.measure_image(planes) == 2.0
    assert statistics.measure_image(planes[:, :4]) is None
    assert statistics.measure_image(np.zeros((0, 0))) is None


def test_an_image_that_an_earlier_generation_knows_is_known() -> None:
    old = make_statistics().generations[0]
    new = (make_group(2, [100.0]), make_group(3, [0.0]))
    both = DomainStatistics((new, old))
    np.testing.assert_allclose(both.measure_distances(np.array([[100.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])), [0, 0])
    assert DomainStatistics((new,)).measure_distances(np.zeros((1, 5)))[0] > 10


def test_statistics_come_back_from_their_file(tmp_path: Path) -> None:
    both = DomainStatistics((make_statistics().generations[0], (make_group(2, [7.0]), make_group(3, [1.0, 2.0]))))
    sha256 = write_statistics(both, tmp_path)
    found, problem = load_statistics(tmp_path, make_card(sha256, threshold=2.0))
    assert problem == ""
    assert found is not None
    rows = np.random.default_rng(0).normal(0, 5, (20, 5))
    np.testing.assert_allclose(found.measure_distances(rows), both.measure_distances(rows), rtol=1e-3)
    assert found.measure_image(rows[:1]) == pytest.approx(both.measure_distances(rows[:1])[0] / 2.0, rel=1e-3)


def test_an_old_card_says_nothing(tmp_path: Path) -> None:
    assert load_statistics(tmp_path, make_card(None)) == (None, "")


@pytest.mark.parametrize("damage", ["missing", "changed", "torn", "empty"])
def test_a_damaged_file_is_told_and_labels_are_predicted_without_it(tmp_path: Path, damage: str) -> None:
    sha256 = write_statistics(make_statistics(), tmp_path)
    path = tmp_path / DOMAIN_FILE
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"changed": content[:-1] + b"\1", "torn": content[:40], "empty": b""}[damage])
    found, problem = load_statistics(tmp_path, make_card(sha256))
    assert found is None
    assert "tiny@1" in problem
    assert "Install the model again" in problem
