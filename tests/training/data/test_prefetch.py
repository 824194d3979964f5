"""Batches made ahead are the same, in the same order, and nothing is left running."""

import threading

import pytest
import torch

from training.data.prefetch import prefetch_batches


class Maker:
    """Makes batches that name their step, and remembers in which threads."""

    def __init__(self) -> None:
        self.threads: dict[int, str] = {}

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.threads[step] = threading.current_thread().name
        if step == 7:
            raise ValueError("there is no step 7")
        return torch.full((1, 1, 2, 2), float(step)), torch.full((1, 2, 2), step)


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_batches_are_those_of_their_steps_whatever_comes_next(device: str) -> None:
    make = Maker()
    with prefetch_batches(make, torch.device(device)) as batch_of:
        for step in (0, 1, 2, 5, 6, 2):
            images, labels = batch_of(step)
            assert images.unique().tolist() == labels.unique().tolist() == [step]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_only_beside_a_gpu_the_next_one_is_made_in_a_thread() -> None:
    for device, name in (("cuda", "batches_0"), ("cpu", threading.current_thread().name)):
        make = Maker()
        with prefetch_batches(make, torch.device(device)) as batch_of:
            batch_of(0)
            batch_of(1)
        assert make.threads[0] == threading.current_thread().name
        assert make.threads[1] == name


def test_an_error_comes_when_its_step_does_and_not_before() -> None:
    with prefetch_batches(Maker(), torch.device("cuda")) as batch_of:
        batch_of(6)
        with pytest.raises(ValueError, match="no step 7"):
            batch_of(7)
