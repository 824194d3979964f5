"""One adaptation of a small real network: what is written, what is refused, and when nothing is kept."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from torch import nn
from training_phantoms import WIDER, item, small_card, small_recipe

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import CARD_FILE, DomainCheck, read_card
from napari_medseg.core.snapshot import Role, Snapshot, SnapshotItem, write_snapshot
from napari_medseg.networks import build_network, load_version, save_version
from training.adapt import adapter
from training.adapt.__main__ import main
from training.adapt.adapter import adapt, explain_worse
from training.adapt.request import (
    PAUSE_FILE,
    SNAPSHOT_FILE,
    AdaptRequest,
    Comparison,
    read_result,
    write_request,
)
from training.adapt.trainable import train_norms_and_decoder
from training.data.dataset import LabelledPlane
from training.learner import Learner

STEPS = 6


@pytest.fixture(autouse=True)
def small_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {"data": {"batch_size": 2, "patch_px": 64}, "optimiser": {"learning_rate": 3e-3, "ema_decay": 0.5}}
    monkeypatch.setattr(adapter, "SETTINGS", {**adapter.SETTINGS, **changed})


def ask(folder: Path, base: Path, items: list[SnapshotItem], **changes: object) -> Path:
    """A folder as the window writes it."""
    folder.mkdir(exist_ok=True)
    write_snapshot(Snapshot(task="lungs", items=tuple(items)), folder / SNAPSHOT_FILE)
    card = read_card(base / CARD_FILE)
    request = AdaptRequest(
        parent=card.id, parent_sha256=card.weights_sha256, base=str(base), corrections=(3, 7), max_steps=STEPS
    )
    write_request(request.model_copy(update=changes), folder)
    return folder


def test_state_is_a_version_folder_whose_parent_is_the_live_version(tmp_path: Path, base_version: Path) -> None:
    folder = ask(tmp_path, base_version, [item(tmp_path, f"new{n}", Role.TRAIN, seed=n) for n in range(2)])

    result = adapt(folder)

    assert result.kept
    assert result.n_steps == STEPS
    assert result.share == adapter.SHARES_WITHOUT_SAMPLE[0]
    network, card = load_version(folder)
    live, live_card = load_version(base_version)
    assert card.weights_sha256 == result.weights_sha256 != live_card.weights_sha256
    assert (card.id, card.lineage.parent, card.lineage.n_corrections) == ("lungs-unet@1", "lungs-unet@1", 2)
    pairs = zip(network.parameters(), live.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


def test_a_held_out_case_is_refused(tmp_path: Path, base_version: Path) -> None:
    items = [item(tmp_path, "new", Role.TRAIN), item(tmp_path, "held", Role.HOLD_OUT, seed=1)]
    with pytest.raises(MedSegError, match="held-out"):
        adapt(ask(tmp_path, base_version, items))


def test_a_state_that_is_worse_on_validation_cases_is_not_kept(tmp_path: Path, base_version: Path) -> None:
    trained = learnt_version(tmp_path / "good", base_version)
    wrong = item(tmp_path, "new", Role.TRAIN, seed=1)
    tifffile.imwrite(tmp_path / "new_labels.tif", np.full((64, 64), 2, np.uint8))  # all is left lung
    items = [wrong, item(tmp_path, "val", Role.VALIDATE, seed=2)]

    folder = ask(tmp_path / "bad", trained, [absolute(one, tmp_path) for one in items], max_steps=25)
    assert main([str(folder)]) == 0

    result = read_result(folder)
    assert not result.kept
    assert "validation cases" in result.text
    assert result.validation is not None
    assert result.validation.adapted < result.validation.live
    assert not (folder / "model.safetensors").exists()


def test_replay_may_lose_only_the_stated_dice() -> None:
    assert not explain_worse(Comparison(live=0.9, adapted=0.8951, n_planes=4), None)
    assert "older images" in explain_worse(Comparison(live=0.9, adapted=0.8949, n_planes=4), None)
    assert "older images" in explain_worse(Comparison(live=0.9, adapted=float("nan"), n_planes=4), None)
    assert "validation" in explain_worse(None, Comparison(live=0.9, adapted=0.8999, n_planes=4))


def test_goes_on_from_the_state_before_unless_that_is_damaged(tmp_path: Path, base_version: Path) -> None:
    items = [item(tmp_path, "new", Role.TRAIN)]
    first = ask(tmp_path, base_version, items)
    sha256 = adapt(first).weights_sha256
    again = [absolute(one, tmp_path) for one in items]
    second = ask(tmp_path / "second", base_version, again, start=str(first), start_sha256=sha256, max_steps=1)
    assert adapt(second).kept

    (first / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(MedSegError, match="damaged"):
        adapt(second)


def test_live_version_with_other_weights_and_unreadable_corrections_are_told(
    tmp_path: Path, base_version: Path
) -> None:
    folder = ask(tmp_path, base_version, [item(tmp_path, "new", Role.TRAIN)], parent_sha256="0" * 64)
    assert main([str(folder)]) == 0
    assert "other weights" in read_result(folder).text

    (tmp_path / "new.tif").write_bytes(b"no image")
    assert main([str(ask(tmp_path, base_version, [item_of(tmp_path)]))]) == 0
    assert "none of the corrections can be read" in read_result(folder).text


def test_statistics_of_the_training_images_stay_with_the_state(tmp_path: Path, base_version: Path) -> None:
    folder = tmp_path / "version"
    network, card = load_version(base_version)
    save_version(network, card.model_copy(update={"domain": DomainCheck(statistics_sha256="x")}), folder)
    (folder / "out_of_domain.safetensors").write_bytes(b"statistics")
    state = ask(tmp_path, folder, [item(tmp_path, "new", Role.TRAIN)], max_steps=1)
    assert adapt(state).kept
    assert (state / "out_of_domain.safetensors").read_bytes() == b"statistics"


def test_the_best_mixture_on_validation_cases_is_taken() -> None:
    pixels = np.linspace(-1, 2, 64 * 64).reshape(1, 64, 64).astype(np.float16)
    plane = LabelledPlane((pixels,), (pixels[0] > 0.3).astype(np.uint8))
    lesson = adapter.Lesson([], [], [], [plane])
    live, adapted = brighter_than(0.0), brighter_than(1.2)

    result, network = adapter.choose_share(live, adapted, lesson, None, lambda: None)

    assert network is not None
    assert (result.kept, result.share) == (True, 0.25), "a quarter of the way from 0 to 1.2 is 0.3"
    assert result.validation is not None
    assert result.validation.adapted == pytest.approx(1.0)


def brighter_than(threshold: float) -> nn.Module:
    """A network that labels what is brighter than a threshold."""
    network = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1))
        network.bias.copy_(torch.tensor([0.0, -threshold]))
    return network.eval()


def test_kernels_of_the_encoder_stay_and_its_norms_learn_slowly() -> None:
    network = nn.Module()
    network.encoder = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network.decoder = nn.Conv2d(2, 3, 3)
    learner = SimpleNamespace(network=network, recipe=small_recipe(learning_rate=0.01), optimiser=None)
    train_norms_and_decoder(learner)
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {"encoder.1.weight", "encoder.1.bias", "decoder.weight", "decoder.bias"}
    assert [group["full_rate"] for group in learner.optimiser.param_groups] == [0.01, pytest.approx(0.003)]


def test_it_waits_while_the_folder_holds_a_file_pause(tmp_path: Path, base_version: Path) -> None:
    folder = ask(tmp_path, base_version, [item(tmp_path, "new", Role.TRAIN)], max_steps=1)
    (folder / PAUSE_FILE).touch()
    waited = []

    def wait() -> None:
        waited.append((folder / PAUSE_FILE).exists())
        (folder / PAUSE_FILE).unlink(missing_ok=True)

    assert adapt(folder, wait).kept
    assert waited == [True], "before its only step; nothing was compared"


def item_of(folder: Path) -> SnapshotItem:
    return SnapshotItem(name="new", image="new.tif", labels="new_labels.tif", group="new", role=Role.TRAIN)


def absolute(one: SnapshotItem, folder: Path) -> SnapshotItem:
    return one.model_copy(update={"image": str(folder / one.image), "labels": str(folder / one.labels)})


def learnt_version(folder: Path, base: Path) -> Path:
    """A version that finds the phantoms: the whole network is trained for a few steps."""
    folder.mkdir()
    torch.manual_seed(0)
    save_version(build_network(small_card(WIDER).architecture), small_card(WIDER), folder / "untrained")
    network, card = load_version(folder / "untrained")
    items = [absolute(item(folder, f"lesson{n}", Role.TRAIN, seed=10 + n), folder) for n in range(4)]
    snapshot = Snapshot(task="lungs", items=tuple(items))
    request = AdaptRequest(parent="", parent_sha256="", base=str(base), corrections=())
    lesson = adapter.read_lesson(folder, request, snapshot, card)
    recipe = small_recipe(learning_rate=1e-2, batch_size=4)
    learner = Learner.from_parent(network, recipe, torch.device("cpu"))
    batches = adapter.make_batches(recipe, list(lesson.train), [], card, snapshot.task_definition)
    for step in range(30):
        learner.step(batches.make_batch(step), step, 1.0)
    save_version(learner.make_candidate(), card, folder / "version")
    return folder / "version"
