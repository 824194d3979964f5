"""Training on GPUs that fail: smaller parts of a batch, then the CPU, with a notice, and the same after a pause."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pretend_gpu import (
    COMPUTER_MEMORY_ERRORS,
    FAULTS_OF_OURS,
    GPU,
    GPU_ERRORS,
    GPU_MEMORY_ERRORS,
    fail_on_gpu,
    pretend_gpu,
)
from training_phantoms import SIDE, small_card, small_recipe

from napari_medseg.core.atomic_io import compute_file_sha256
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.model_card import Architecture
from napari_medseg.networks import ARCHITECTURES, build_network
from training.__main__ import main, run
from training.checkpoint import choose_run_device, read_progress
from training.learner import Learner
from training.recipe import read_recipe, update_recipe, write_recipe
from training.run_folder import (
    Compared,
    EpochEnded,
    Event,
    Failed,
    Finished,
    Notice,
    Started,
    append_event,
    read_events,
)

MakeRun = Callable[..., Path]
Gpu = Callable[[Callable[[], Exception], int | Callable[[], int]], None]
BATCH = (torch.rand(4, 1, SIDE, SIDE) * 2 - 1, torch.randint(0, 3, (4, SIDE, SIDE)))
PATCH_PX = SIDE**2
FROZEN = {"freeze_batch_norm": True}
START_ERRORS = {
    "memory": GPU_MEMORY_ERRORS["cublas"],
    "float64": GPU_ERRORS["mps float64"],
    "no cuda": GPU_ERRORS["no cuda"],
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gpu]:
    """Makes this computer one with a GPU on which networks fail with an error above a number of pixels."""
    build = ARCHITECTURES["conv_unet"]

    def fail(error: Callable[[], Exception], most_px: int | Callable[[], int]) -> None:
        monkeypatch.setitem(ARCHITECTURES, "conv_unet", lambda card: fail_on_gpu(build(card), error, most_px))

    with pretend_gpu(monkeypatch):
        yield fail


def make_learner(error: Callable[[], Exception], most_px: int, device: torch.device = GPU, **recipe: object) -> Learner:
    torch.manual_seed(0)
    network = fail_on_gpu(build_network(small_card().architecture), error, most_px)
    return Learner.from_parent(network, small_recipe(**recipe), device)


@pytest.mark.parametrize("error", GPU_MEMORY_ERRORS.values(), ids=GPU_MEMORY_ERRORS)
def test_full_memory_halves_what_is_computed_at_once_and_keeps_the_step(
    error: Callable[[], Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = make_learner(error, 0, torch.device("cpu"), accumulate=4, distillation=1.0, **FROZEN)
    wanted_losses = [wanted.step(BATCH, step, 1.0, 1) for step in range(2)]
    with pretend_gpu(monkeypatch):
        scarce = make_learner(error, PATCH_PX, distillation=1.0, **FROZEN)
        assert scarce.n_parts == 1
        assert [scarce.step(BATCH, step, 1.0, 1) for step in range(2)] == wanted_losses
    assert scarce.n_parts == 4
    for name, tensor in wanted.network.state_dict().items():
        assert torch.equal(scarce.network.state_dict()[name], tensor), name


def test_full_memory_does_not_count_a_batch_twice_in_the_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = make_learner(GPU_MEMORY_ERRORS["cuda"], 0, torch.device("cpu"), accumulate=2, freeze_batch_norm=False)
    wanted.step(BATCH, 0, 1.0)
    with pretend_gpu(monkeypatch):
        scarce = make_learner(GPU_MEMORY_ERRORS["cuda"], 2 * PATCH_PX, freeze_batch_norm=False)
        scarce.step(BATCH, 0, 1.0)
    for name, tensor in wanted.network.state_dict().items():
        assert torch.equal(scarce.network.state_dict()[name], tensor), name


def test_a_single_patch_that_does_not_fit_is_an_error_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_gpu(monkeypatch), pytest.raises(torch.OutOfMemoryError):
        make_learner(GPU_MEMORY_ERRORS["cuda"], PATCH_PX - 1).step(BATCH, 0, 1.0)


def list_notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def test_a_run_goes_on_with_smaller_parts_and_agrees_after_a_pause(make_run: MakeRun, gpu: Gpu) -> None:
    gpu(GPU_MEMORY_ERRORS["cudnn"], 2 * PATCH_PX)
    whole, killed = make_run("whole", n_epochs=3), make_run("killed", n_epochs=3)
    assert main([str(whole)]) == 0
    assert any("computed in 2 parts" in text for text in list_notices([event for event, _ in read_events(whole)]))
    for event in run(killed, time.monotonic()):
        append_event(killed, event)
        if isinstance(event, EpochEnded):
            break
    assert read_progress(killed).n_parts == 2
    gpu(GPU_MEMORY_ERRORS["cudnn"], 4 * PATCH_PX)  # now there is room, but the run has to end as the other one
    assert main([str(killed)]) == 0
    assert compute_file_sha256(whole / "model.safetensors") == compute_file_sha256(killed / "model.safetensors")


@pytest.mark.parametrize("error", START_ERRORS.values(), ids=START_ERRORS)
def test_a_run_whose_gpu_fails_at_the_start_ends_on_the_cpu(
    make_run: MakeRun, gpu: Gpu, error: Callable[[], Exception]
) -> None:
    gpu(error, -1)
    run_dir = make_run(n_epochs=1, steps_per_epoch=1)
    assert main([str(run_dir)]) == 0
    events = [event for event, _ in read_events(run_dir)]
    assert any("the run goes on on the CPU from step 0" in text for text in list_notices(events))
    assert [event.device for event in events if isinstance(event, Started)][-1] == "cpu"
    assert isinstance(events[-1], Finished)


def test_a_run_whose_gpu_is_lost_goes_on_on_the_cpu_from_its_checkpoint(make_run: MakeRun, gpu: Gpu) -> None:
    run_dir, wanted = make_run("lost", n_epochs=3), make_run("wanted", n_epochs=3, device="cpu")
    gpu(GPU_ERRORS["lost"], 10**9)
    for event in run(run_dir, time.monotonic()):
        append_event(run_dir, event)
        if isinstance(event, EpochEnded):
            break
    gpu(GPU_ERRORS["lost"], 0)  # now the GPU is lost, and the run is continued
    assert main([str(run_dir)]) == 0
    events = [event for event, _ in read_events(run_dir)]
    assert any(
        "failed (CUDA error: unspecified launch failure): the run goes on on the CPU" in text
        for text in list_notices(events)
    )
    assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2, 3]
    assert main([str(wanted)]) == 0
    assert compute_file_sha256(run_dir / "model.safetensors") == compute_file_sha256(wanted / "model.safetensors")


def pause_after_an_epoch(run_dir: Path) -> None:
    for event in run(run_dir, time.monotonic()):
        append_event(run_dir, event)
        if isinstance(event, EpochEnded):
            return


def test_a_run_that_moved_to_the_cpu_tries_the_gpu_again_after_a_pause_and_says_so(make_run: MakeRun, gpu: Gpu) -> None:
    gpu(GPU_MEMORY_ERRORS["mps buffer"], 0)
    run_dir = make_run(n_epochs=2)
    pause_after_an_epoch(run_dir)
    assert read_progress(run_dir).device == "cpu"
    assert choose_run_device(read_recipe(run_dir / "recipe.json"), run_dir)[0] == GPU
    gpu(GPU_MEMORY_ERRORS["mps buffer"], 10**9)
    assert main([str(run_dir)]) == 0
    events = [event for event, _ in read_events(run_dir)]
    assert [event.device for event in events if isinstance(event, Started)] == ["cuda:0", "cpu", "cuda:0"]
    assert any("it tries the GPU again" in text for text in list_notices(events))
    assert any("checkpoint is from cpu, the run goes on on cuda:0" in text for text in list_notices(events))


def test_a_run_whose_user_names_the_cpu_stays_there(make_run: MakeRun, gpu: Gpu) -> None:
    gpu(GPU_MEMORY_ERRORS["cuda"], 0)
    run_dir = make_run(n_epochs=2)
    pause_after_an_epoch(run_dir)
    recipe = read_recipe(run_dir / "recipe.json")
    assert choose_run_device(update_recipe(recipe, {"device": "cpu"}), run_dir) == (torch.device("cpu"), "")


def test_parts_have_two_images_for_batch_normalisation_then_the_cpu_starts_as_the_recipe_says(
    make_run: MakeRun, gpu: Gpu
) -> None:
    gpu(GPU_MEMORY_ERRORS["cuda"], PATCH_PX)
    run_dir = make_run(n_epochs=2)
    pause_after_an_epoch(run_dir)
    assert (read_progress(run_dir).device, read_progress(run_dir).n_parts) == ("cpu", 1)


def test_a_pooled_branch_never_sees_a_single_image(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build_network(Architecture(name="pan", encoder="resnet18", in_channels=1, classes=3))
    with pretend_gpu(monkeypatch):
        network = fail_on_gpu(built, GPU_MEMORY_ERRORS["cuda"], 2 * PATCH_PX)
        learner = Learner.from_parent(network, small_recipe(freeze_batch_norm=False), GPU)
        learner.n_parts = 4  # from a checkpoint of an older version
        assert learner.step(BATCH, 0, 1.0) is not None
        assert learner.n_parts == 2


def test_the_memory_of_the_training_is_free_before_the_final_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretend_gpu(monkeypatch):
        learner = make_learner(GPU_MEMORY_ERRORS["cuda"], 10**9, ema_decay=0.9)
        learner.step(BATCH, 0, 1.0)
        assert learner.network.is_on_gpu
        learner.free_memory()
    assert not any(network.is_on_gpu for network in (learner.network, learner.parent, learner.average))
    assert not learner.optimiser.state


def test_a_gpu_that_fails_in_the_comparison_is_told_and_both_versions_are_scored_on_the_cpu(
    make_run: MakeRun, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    most_px = [10**9]
    gpu(GPU_ERRORS["lost"], lambda: most_px[0])
    build = ARCHITECTURES["conv_unet"]

    def build_blind_on_gpu(card: object) -> torch.nn.Module:
        network = build(card)
        network.register_forward_hook(lambda module, _, logits: logits * (0 if module.is_on_gpu else 1))
        return network

    monkeypatch.setitem(ARCHITECTURES, "conv_unet", build_blind_on_gpu)
    found: dict[str, list[Compared]] = {}
    for name, device in (("on the CPU", "cpu"), ("lost", "cuda:0")):
        events = []
        for event in run(make_run(name, n_epochs=1, steps_per_epoch=1, device=device), time.monotonic()):
            events.append(event)
            if isinstance(event, Compared) and device != "cpu":
                most_px[0] = 0
        found[name] = [event for event in events if isinstance(event, Compared)]
    wanted, lost = ([event.old for event in found[name]] for name in found)
    assert lost[0] == 0.0
    assert 0.0 not in wanted
    assert lost[1:] == wanted[1:]
    texts = list_notices(events)
    assert sum("Pretence 4090 cannot predict (CUDA error: unspecified launch failure)" in text for text in texts) == 1
    assert sum("the old version is scored again on CPU" in text for text in texts) == 1


def test_the_time_before_the_move_counts_against_the_budget(make_run: MakeRun, gpu: Gpu) -> None:
    gpu(GPU_MEMORY_ERRORS["cuda"], 0)
    run_dir = make_run(n_epochs=1, budget_s=1000.0)
    (last,) = [event for event in run(run_dir, time.monotonic() - 100.0) if isinstance(event, Finished)]
    assert 100.0 < last.seconds < 200.0


@pytest.mark.parametrize("error", FAULTS_OF_OURS.values(), ids=FAULTS_OF_OURS)
def test_a_fault_of_ours_is_no_reason_to_move(make_run: MakeRun, gpu: Gpu, error: Callable[[], Exception]) -> None:
    gpu(error, 0)
    run_dir = make_run(n_epochs=1)
    with pytest.raises(type(error())):
        main([str(run_dir)])
    (failed,) = [event.message for event, _ in read_events(run_dir) if isinstance(event, Failed)]
    assert "This is a bug" in failed


def test_too_little_memory_of_the_computer_is_a_message_not_a_bug(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise COMPUTER_MEMORY_ERRORS["windows"]()

    monkeypatch.setattr(torch.nn.functional, "grid_sample", fail)
    run_dir = make_run(n_epochs=1, device="cpu")
    assert main([str(run_dir)]) == 1
    (failed,) = [event.message for event, _ in read_events(run_dir) if isinstance(event, Failed)]
    assert "there is not enough memory" in failed
    assert "bug" not in failed


@pytest.mark.parametrize("error", COMPUTER_MEMORY_ERRORS.values(), ids=COMPUTER_MEMORY_ERRORS)
def test_full_memory_of_the_computer_does_not_move_a_run_from_its_gpu(
    make_run: MakeRun, gpu: Gpu, error: Callable[[], Exception]
) -> None:
    gpu(error, 0)
    run_dir = make_run(n_epochs=1)
    assert main([str(run_dir)]) == 1
    events = [event for event, _ in read_events(run_dir)]
    assert [event.device for event in events if isinstance(event, Started)] in (["cuda:0"], [])
    assert isinstance(events[-1], Failed)
    assert "not enough memory in this computer" in events[-1].message


def test_a_device_that_is_not_there_is_refused_before_a_run_but_not_after(make_run: MakeRun) -> None:
    run_dir = make_run(n_epochs=2, device="cuda:9")
    with pytest.raises(MedSegError, match=r"no device 'cuda:9' here; choose one of: .*cpu"):
        next(run(run_dir, time.monotonic()))
    recipe = read_recipe(run_dir / "recipe.json")
    write_recipe(update_recipe(recipe, {"device": "cpu"}), run_dir / "recipe.json")
    for event in run(run_dir, time.monotonic()):
        if isinstance(event, EpochEnded):
            break
    write_recipe(recipe, run_dir / "recipe.json")  # as if the run came from a computer with ten GPUs
    events = list(run(run_dir, time.monotonic()))
    assert any("no device 'cuda:9' here" in text and "The run goes on on" in text for text in list_notices(events))
    assert isinstance(events[-1], Finished)
