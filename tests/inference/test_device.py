import pytest
import torch

from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.device import (
    DEVICE_LIMITS,
    choose_device,
    describe_device,
    is_out_of_memory,
)


def test_a_device_is_found_and_has_a_title_and_limits() -> None:
    device = choose_device()
    assert describe_device(device)
    assert device.type in DEVICE_LIMITS
    assert describe_device(choose_device("cpu")) == "CPU"


def test_a_device_that_is_not_there_is_refused_with_the_choices() -> None:
    with pytest.raises(MedSegError, match=r"no device 'tpu' here; choose one of \[.*'cpu'.*\]"):
        choose_device("tpu")


@pytest.mark.parametrize("limits", DEVICE_LIMITS.values(), ids=DEVICE_LIMITS)
def test_tiles_suit_the_network(limits) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert limits.tile_px % 32 == 0
    assert 64 < limits.overlap_px <= limits.tile_px // 2
    assert limits.tile_px**2 <= limits.max_untiled_px


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("expected 3 channels"), False),
    ],
)
def test_out_of_memory_is_recognised_in_all_its_words(error: Exception, wanted: bool) -> None:
    assert is_out_of_memory(error) is wanted
