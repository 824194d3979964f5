"""One choice of the precision for prediction, training, validation and the profile of a step."""

import re
from pathlib import Path

import pytest
import torch

import napari_medseg
import training
from napari_medseg.networks.precision import choose_autocast_dtype, choose_memory_format, make_autocast


def test_apples_gpus_get_neither_channels_last_nor_bf16() -> None:
    mps = torch.device("mps")
    assert choose_memory_format(mps) == torch.contiguous_format
    assert choose_autocast_dtype(mps, "bf16") is None
    assert (
        choose_memory_format(torch.device("cpu")) == choose_memory_format(torch.device("cuda:1")) == torch.channels_last
    )


def test_the_memory_order_is_chosen_in_one_place() -> None:
    packages = [Path(package.__file__).parent for package in (napari_medseg, training)]
    users = [path for folder in packages for path in folder.rglob("*.py") if "channels_last" in path.read_text("utf-8")]
    assert [path.name for path in users] == ["precision.py"]


def test_fp32_of_the_card_is_obeyed() -> None:
    assert choose_autocast_dtype(torch.device("cpu"), "fp32") is None
    assert choose_autocast_dtype(torch.device("cpu"), "bf16") in (None, torch.bfloat16)


def test_bf16_is_computed_only_where_the_device_has_it() -> None:
    cpu = torch.device("cpu")
    with make_autocast(cpu, "fp32"):
        assert not torch.is_autocast_enabled("cpu")
    with make_autocast(cpu, "bf16"):
        assert torch.is_autocast_enabled("cpu") is (choose_autocast_dtype(cpu, "bf16") is not None)


@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize("limit", ["AVX2", "avx2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI", "SSE41"])
def test_a_limit_without_bf16_is_obeyed(monkeypatch: pytest.MonkeyPatch, variable: str, limit: str) -> None:
    monkeypatch.setenv(variable, limit)
    assert choose_autocast_dtype(torch.device("cpu"), "bf16") is None


@pytest.mark.parametrize("limit", ["", "ALL", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_AMX", "AVX10_1_512"])
def test_a_limit_with_bf16_changes_nothing(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    free = choose_autocast_dtype(torch.device("cpu"), "bf16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert choose_autocast_dtype(torch.device("cpu"), "bf16") is free


def test_autocast_is_switched_on_in_one_place() -> None:
    users = [
        path.name
        for package in (napari_medseg, training)
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        if re.search(r"torch\.autocast\(", path.read_text(encoding="utf-8"))
    ]
    assert sorted(users) == ["compiled_network.py", "precision.py"], "the first gets its type from the second"
