import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from light_engine import write_light_python

import napari_medseg
from napari_medseg.core import formats
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.image import Image
from napari_medseg.core.model_card import Architecture, ModelCard, PostprocessingStep, Preprocessing
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionOptions, PredictionPart, PredictionProgress, PredictionResult
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import build_network, save_version
from napari_medseg.workflow.workspace import Workspace

SAMPLES = Path(napari_medseg.__file__).parent / "samples"
SHARED_MEMORY = Path("/dev/shm")
needs_linux = pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="looks into Linux's /dev/shm and /proc")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    architecture = Architecture(
        name="unet",
        encoder="mobilenet_v2",
        in_channels=1,
        classes=3,
        options={"decoder_channels": [16, 16, 8, 8, 8]},
    )
    card = ModelCard(
        name="tiny",
        version=1,
        task="lungs",
        architecture=architecture,
        preprocessing=Preprocessing(min_side_px=64),
        postprocessing=[PostprocessingStep(name="fill_holes")],
    )
    folder = tmp_path_factory.mktemp("versions") / "1"
    save_version(build_network(architecture), card, folder)
    return folder


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    running = Engine()
    running.start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def light_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Starts an engine that predicts without torch: for tests of the process, not of what it answers."""
    return write_light_python(tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="module")
def light_engine(light_python: str) -> Iterator[Engine]:
    running = Engine(light_python)
    running.start()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def _no_shared_memory_left() -> Iterator[None]:
    yield
    assert not segments()


def segments(pid: int | None = None) -> set[str]:
    """Shared memory that a process (this one, where none is given) made and did not remove."""
    return {path.name for path in SHARED_MEMORY.glob(f"medseg_{pid or os.getpid()}_*")}


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def noise(*shape: int) -> Image:
    pixels = np.random.default_rng(0).normal(-300, 400, shape).astype(np.int16)
    return Image(pixels, "YX" if len(shape) == 2 else "ZYX", (5.0, 0.7, 0.7)[-len(shape) :], units="HU", name="noise")


def last(events: Iterator[object]) -> PredictionResult:
    *_, result = events
    assert isinstance(result, PredictionResult)
    return result


def test_the_engine_answers_what_the_predictor_answers(engine: Engine, version: Path) -> None:
    image = noise(3, 128, 96)
    *events, result = engine.predict(image, version, with_uncertainty_map=True)
    *_, wanted = Predictor.load(version).predict(image, PredictionOptions(with_uncertainty_map=True))
    assert isinstance(result, PredictionResult)
    assert isinstance(wanted, PredictionResult)
    assert result.device == wanted.device
    np.testing.assert_array_equal(result.labels, wanted.labels)
    np.testing.assert_array_equal(result.uncertainty_map, wanted.uncertainty_map)
    assert result.uncertainty == pytest.approx(wanted.uncertainty)
    assert result.device == engine.device != ""
    assert "slice 3 of 3" in [event.text for event in events if isinstance(event, PredictionProgress)]
    assert engine.state == "ready"


def test_the_first_labels_of_a_series_come_before_the_last(light_engine: Engine, version: Path) -> None:
    image = noise(10, 64, 64)
    events = list(light_engine.predict(image, version))
    parts = [number for number, event in enumerate(events) if isinstance(event, PredictionPart)]
    progress = [number for number, event in enumerate(events) if isinstance(event, PredictionProgress)]
    assert parts
    assert parts[0] < progress[-1]
    part = events[parts[0]]
    assert isinstance(part, PredictionPart)
    np.testing.assert_array_equal(part.labels, image.pixels[part.first : part.first + len(part.labels)] > 0)


def test_pixels_may_lie_in_any_order_and_type(engine: Engine, version: Path) -> None:
    image = noise(96, 128)
    straight = last(engine.predict(image, version))
    flipped = image.replace_pixels(np.ascontiguousarray(image.pixels[::-1, ::-1])[::-1, ::-1])
    np.testing.assert_array_equal(last(engine.predict(flipped, version)).labels, straight.labels)
    big_endian = image.replace_pixels(image.pixels.astype(">i2"))
    np.testing.assert_array_equal(last(engine.predict(big_endian, version)).labels, straight.labels)


def test_a_model_that_predicts_inside_a_roi_gets_it_in_the_engine_too(engine: Engine, tmp_path: Path) -> None:
    workspace = Workspace.open(tmp_path / "project", tmp_path / "registry")
    try:
        card = workspace.registry.get_live_card("covid")
        folder, lungs = workspace.registry.get_folder(card.id), workspace.registry.find_roi_folder(card)
        roi_predictor = Predictor.load(lungs)
        image = formats.read(SAMPLES / "ct_a0001" / "dicom" / "A0001_z031.dcm")
        *events, result = engine.predict(image, folder, roi_folder=lungs)
    finally:
        workspace.close()
    assert isinstance(result, PredictionResult)
    np.testing.assert_array_equal(result.roi, roi_predictor.predict_labels(image))
    np.testing.assert_array_equal(result.labels, Predictor.load(folder, roi_folder=lungs).predict_labels(image))
    assert "lungs: 1 slice" in [event.text for event in events if isinstance(event, PredictionProgress)]


def test_starting_does_not_wait_and_states_are_told(light_python: str, version: Path) -> None:
    engine, states = Engine(light_python), list[str]()
    engine.state_changed.connect(states.append)
    began = time.monotonic()
    engine.start()
    engine.start()
    assert time.monotonic() - began < 0.5
    assert engine.state == "starting"
    assert engine.device == ""
    first, *_ = events = list(engine.predict(noise(64, 64), version))
    assert isinstance(first, PredictionProgress)
    assert "starting" in first.text
    assert isinstance(events[-1], PredictionResult)
    pid = engine.pid
    engine.close()
    assert pid is not None
    assert not is_alive(pid)
    assert states == ["starting", "ready", "busy", "ready", "stopped"]


@needs_linux
def test_a_killed_engine_is_restarted_with_a_message_and_nothing_is_lost(light_engine: Engine, version: Path) -> None:
    image = noise(60, 64, 64)
    before = image.pixels.copy()
    events = light_engine.predict(image, version)
    while not (isinstance(event := next(events), PredictionProgress) and event.done > 0):
        pass
    assert light_engine.state == "busy"
    assert light_engine.pid is not None
    assert segments()
    killed = light_engine.pid
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(MedSegError, match=r"killed, perhaps because memory ran out.*restarted.*predict again"):
        list(events)
    assert not segments()
    np.testing.assert_array_equal(image.pixels, before)
    assert light_engine.state in ("starting", "ready")
    assert light_engine.pid != killed
    assert last(light_engine.predict(image.replace_pixels(image.pixels[:2]), version)).labels.shape == (2, 64, 64)


def test_an_engine_killed_while_idle_comes_back(light_engine: Engine) -> None:
    wait_until(lambda: light_engine.state == "ready")
    assert light_engine.pid is not None
    killed = light_engine.pid
    os.kill(killed, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    wait_until(lambda: light_engine.pid != killed and light_engine.state == "ready")


def cancelled_after(stop: Callable[[], None], events: Iterator[object]) -> float:
    """Iterate; `stop` from another thread at the second event; return the seconds from there to the end."""
    moments: list[float] = []

    def cancel() -> None:
        time.sleep(0.05)
        moments.append(time.monotonic())
        stop()

    next(events), next(events)
    threading.Thread(target=cancel).start()
    with pytest.raises(PredictionCancelled):
        list(events)
    return time.monotonic() - moments[0]


def test_cancel_works_within_half_a_second_and_the_next_prediction_is_made(engine: Engine, version: Path) -> None:
    wait_until(lambda: engine.state == "ready")
    last(engine.predict(noise(64, 64), version))
    assert cancelled_after(engine.cancel, engine.predict(noise(80, 384, 384), version)) < 0.5
    assert last(engine.predict(noise(64, 64), version)).labels.shape == (64, 64)


def test_a_prediction_that_gives_way_leaves_the_engine_warm(engine: Engine, version: Path) -> None:
    wait_until(lambda: engine.state == "ready")
    last(engine.predict(noise(64, 64), version))
    pid = engine.pid
    cancelled_after(engine.cancel_gracefully, engine.predict(noise(80, 384, 384), version))
    assert engine.state == "ready"
    assert engine.pid == pid
    assert last(engine.predict(noise(64, 64), version)).labels.shape == (64, 64)


@needs_linux
def test_an_engine_that_does_not_obey_is_replaced(light_engine: Engine, version: Path) -> None:
    wait_until(lambda: light_engine.state == "ready")
    events = light_engine.predict(noise(80, 64, 64), version)
    next(events)
    stuck = light_engine.pid
    assert stuck is not None
    os.kill(stuck, signal.SIGSTOP)
    began = time.monotonic()
    light_engine.cancel()
    with pytest.raises(PredictionCancelled):
        list(events)
    assert time.monotonic() - began < 0.5
    wait_until(lambda: light_engine.pid != stuck and light_engine.state == "ready")
    assert not is_alive(stuck)


def test_cancel_reaches_those_that_wait_and_a_starting_engine(light_python: str, version: Path) -> None:
    engine = Engine(light_python)
    try:
        events = engine.predict(noise(64, 64), version)
        next(events)
        waiting = engine.predict(noise(64, 64), version)
        assert "waiting" in next(waiting).text  # type: ignore[union-attr]
        engine.cancel()
        with pytest.raises(PredictionCancelled):
            next(waiting)
        with pytest.raises(PredictionCancelled):
            next(events)
    finally:
        engine.close()


def test_a_forgotten_prediction_frees_the_engine(light_engine: Engine, version: Path) -> None:
    events = light_engine.predict(noise(80, 64, 64), version)
    next(events), next(events)
    events.close()  # type: ignore[attr-defined]
    assert not segments()
    assert last(light_engine.predict(noise(64, 64), version)).labels.shape == (64, 64)


def test_two_threads_take_turns(light_engine: Engine, version: Path) -> None:
    images = [noise(4, 96, 96), noise(3, 64, 64)]
    results: dict[int, PredictionResult] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.__setitem__(n, last(light_engine.predict(images[n], version))))
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [results[n].labels.shape for n in range(2)] == [image.spatial_shape for image in images]


def test_what_a_person_can_act_on_comes_back_as_words_and_the_engine_lives(
    engine: Engine, version: Path, tmp_path: Path
) -> None:
    wait_until(lambda: engine.state == "ready")
    pid = engine.pid
    with pytest.raises(MedSegError, match=r"no pixels"):
        last(engine.predict(noise(0, 64, 64), version))
    with pytest.raises(MedSegError, match=r"card\.json"):
        last(engine.predict(noise(64, 64), tmp_path))
    for file in version.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(MedSegError, match=r"tiny@1 are damaged"):
        last(engine.predict(noise(64, 64), tmp_path))
    assert (engine.state, engine.pid) == ("ready", pid)
    assert last(engine.predict(noise(64, 64), version)).labels.shape == (64, 64)


def test_a_bug_in_the_engine_is_told_by_its_last_words(light_engine: Engine, version: Path) -> None:
    broken = Image(np.full((64, 64), "text"), "YX", units="HU")
    with pytest.raises(MedSegError, match=r"ended unexpectedly \(ValueError: .*restarted"):
        last(light_engine.predict(broken, version))
    assert last(light_engine.predict(noise(64, 64), version)).labels.shape == (64, 64)


def test_an_engine_that_cannot_start_says_why_and_does_not_try_for_ever(tmp_path: Path, version: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\necho $$ >> starts\necho 'no torch today' >&2\nexit 3\n".replace("starts", f"{tmp_path}/starts")
    )
    python.chmod(0o755)
    engine = Engine(str(python))
    with pytest.raises(MedSegError, match=r"cannot start \(no torch today\)"):
        last(engine.predict(noise(64, 64), version))
    assert engine.state == "crashed"
    assert len((tmp_path / "starts").read_text().split()) == 1
    engine.close()
    with pytest.raises(MedSegError, match="cannot start"):
        last(Engine(str(tmp_path / "nothing")).predict(noise(64, 64), version))


WINDOW = """
import sys
from pathlib import Path
import numpy as np
from napari_medseg.core.image import Image
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.events import PredictionProgress

engine = Engine(sys.argv[1])
engine.start()
image = Image(np.zeros((int(sys.argv[3]), 64, 64), np.int16), "ZYX", units="HU")
for event in engine.predict(image, Path(sys.argv[2])):
    if isinstance(event, PredictionProgress) and event.done > 0:
        print(engine.pid, flush=True)
assert "torch" not in sys.modules, "the window has torch"
"""


def test_a_window_that_ends_takes_the_engine_along_and_has_no_torch(light_python: str, version: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WINDOW), light_python, str(version), "2"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: not is_alive(int(done.stdout.split()[0])), 5)


@needs_linux
def test_a_window_that_is_killed_leaves_neither_engine_nor_shared_memory(light_python: str, version: Path) -> None:
    window = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WINDOW), light_python, str(version), "300"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert window.stdout is not None
    engine_pid = int(window.stdout.readline())
    assert is_alive(engine_pid)
    assert segments(window.pid)
    window.kill()
    window.wait()
    window.stdout.close()
    wait_until(lambda: not is_alive(engine_pid), 20)
    wait_until(lambda: not segments(window.pid), 20)
