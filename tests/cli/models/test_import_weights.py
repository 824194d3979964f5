"""`medseg models import` and `export`: networks of segmentation-models-pytorch come in and go out."""

from collections.abc import Callable
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file

from napari_medseg.core.model_card import read_card
from napari_medseg.networks import load_version

Call = Callable[..., tuple[int, str, str]]
SAID = (
    "--hu=-1000,400",
    "--normalisation",
    "0.5,0.5",
    "--sides",
    "64,128",
    "--trained-on",
    "70 scans",
    "--licence",
    "MIT",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network as smp saves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("smp") / "net"
    smp.Unet(
        "resnet18", encoder_weights=None, in_channels=1, classes=3, decoder_channels=(64, 32, 16, 8, 8)
    ).save_pretrained(folder)
    return folder


def test_a_network_of_smp_becomes_a_version_and_leaves_as_a_folder(medseg: Call, saved: Path, tmp_path: Path) -> None:
    place = ("--registry", tmp_path / "registry")
    code, out, told = medseg("models", "import", saved, "--name", "my-unet", "--task", "lungs", *SAID, *place)
    assert code == 0, told
    assert "my-unet@1" in out
    folder = tmp_path / "registry" / "my-unet" / "1"
    card = read_card(folder / "card.json")
    assert (card.architecture.in_channels, card.architecture.classes) == (1, 3)
    assert card.preprocessing.max_side_px == 128
    assert card.licence == "MIT"
    network, _ = load_version(folder)
    original = smp.from_pretrained(saved).eval()
    planes = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(planes), original(planes), atol=0.02, rtol=0.02)  # kernels are kept in fp16
    code, _, told = medseg("models", "export", "my-unet@1", "-o", tmp_path / "out", "--no-onnx", *place)
    assert code == 0, told
    assert (tmp_path / "out" / "predict.py").exists()
    assert read_card(tmp_path / "out" / "card.json") == card


def test_what_does_not_fit_is_refused_with_the_reason(medseg: Call, saved: Path, tmp_path: Path) -> None:
    said = ("--name", "my-unet", *SAID, "--registry", tmp_path / "registry")
    assert "has 3 classes, but 'nuclei' has" in medseg("models", "import", saved, "--task", "nuclei", *said)[2]
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((saved / "model.safetensors").read_bytes())
    assert "unet:resnet34" in medseg("models", "import", alone, "--task", "lungs", *said)[2]
    wrong = ("--architecture", "unet:resnet34")
    assert "do not fit" in medseg("models", "import", alone, "--task", "lungs", *wrong, *said)[2]
    save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert (
        "segmentation_head"
        in medseg("models", "import", tmp_path / "other.safetensors", "--task", "lungs", *wrong, *said)[2]
    )
    (tmp_path / "a.pth").write_bytes(b"pickle")
    assert "no safetensors file" in medseg("models", "import", tmp_path / "a.pth", "--task", "lungs", *wrong, *said)[2]


def test_the_dialogue_asks_again_until_an_answer_can_be_used(
    medseg: Call, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["nuclei", "lungs", "My Lungs!", "my-lungs", "400,-1000", "-1000,400", "0.5,0", "0.5,0.5"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.prompt", lambda *_, default=None, **__: next(answers, default))
    place = ("--registry", tmp_path / "registry")
    code, out, told = medseg("models", "import", saved, *place)
    assert code == 0, told
    assert "my-lungs@1" in out
    for reason in ("has 2 with background", "'My Lungs!' is no name", "must be below", "must be above 0"):
        assert reason in told
    card = read_card(tmp_path / "registry" / "my-lungs" / "1" / "card.json")
    assert (card.preprocessing.hu_low, card.preprocessing.max_side_px, card.licence) == (-1000, 512, "not stated")
