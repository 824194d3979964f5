import pytest
import torch
from torch import Tensor, nn
from views_and_grids import PLAIN, WAYS, AskedOtherwise, summarise

SIDES = (1, 2)


class Sided(nn.Module):
    """Sees side 1 in the left half and side 2 in the right half of whatever it is shown."""

    def forward(self, planes: Tensor) -> Tensor:
        half = planes.shape[-1] // 2
        logits = torch.zeros((len(planes), 3, *planes.shape[-2:]))
        logits[:, 1, :, :half], logits[:, 2, :, half:] = 2.0, 2.0
        return logits


class Fixed(nn.Module):
    """Gives each pixel the same probabilities."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self._logits = torch.tensor(probabilities).log()

    def forward(self, planes: Tensor) -> Tensor:
        return self._logits[None, :, None, None].expand(len(planes), -1, *planes.shape[-2:])


@pytest.mark.parametrize("way", ["mirrored", "four views"])
def test_a_mirrored_chest_has_its_sides_exchanged_back(way: str) -> None:
    planes = torch.zeros((1, 1, 32, 64))
    plain = AskedOtherwise(Sided(), WAYS[PLAIN], SIDES, False)(planes)
    assert torch.allclose(AskedOtherwise(Sided(), WAYS[way], SIDES, False)(planes), plain)
    assert not torch.allclose(AskedOtherwise(Sided(), WAYS[way], None, False)(planes), plain)


@pytest.mark.parametrize("way", ["grid 0.75", "grid 1.5", "grid 2"])
def test_logits_of_another_grid_lie_on_the_grid_of_the_plane(way: str) -> None:
    planes = torch.zeros((1, 1, 64, 96))
    found = AskedOtherwise(Sided(), WAYS[way], SIDES, False)(planes)
    assert found.shape == (1, 3, 64, 96)
    assert (found.argmax(dim=1)[..., :40] == 1).all()
    assert (found.argmax(dim=1)[..., -40:] == 2).all()


@pytest.mark.parametrize(
    ("probabilities", "way", "label"),
    [
        ((0.4, 0.35, 0.25), PLAIN, 0),
        ((0.4, 0.35, 0.25), "sum 0.5", 1),
        ((0.55, 0.15, 0.3), "sum 0.5", 0),
        ((0.55, 0.15, 0.3), "sum 0.4", 2),
        ((0.65, 0.2, 0.15), "sum 0.4", 0),
    ],
)
def test_all_labels_together_decide_whether_there_is_one(
    probabilities: tuple[float, ...], way: str, label: int
) -> None:
    logits = AskedOtherwise(Fixed(*probabilities), WAYS[way], None, False)(torch.zeros((1, 1, 32, 32)))
    assert (logits.argmax(dim=1) == label).all()


def test_a_gain_is_the_mean_difference_of_the_same_images() -> None:
    rows = [
        {"model": "m@1", "source": "s", "name": name, "way": way, "dice": dice, "seconds": 1.0}
        for name, way, dice in [("a", PLAIN, 0.5), ("b", PLAIN, 0.7), ("a", "mirrored", 0.6), ("b", "mirrored", 0.9)]
    ]
    plain, mirrored = summarise(rows)
    assert plain["dice"] == 0.6
    assert "gain of dice" not in plain
    assert mirrored["gain of dice"] == [0.15, 0.1, 0.2]
