"""Predictions by a server: the same answers as of the local engine, in a fair order, whoever else misbehaves."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from served import RawWindow, Served, last, make_image, write_version

from napari_medseg.core.model_card import CARD_FILE, WEIGHTS_FILE
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionPart, PredictionProgress, PredictionResult
from napari_medseg.inference.remote.best_effort_file import BestEffortFile
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.messages import FileNotSent, RemoteRefused, VersionSpec
from napari_medseg.inference.remote.payload import iterate_file, make_array_header
from napari_medseg.inference.remote.version_files import describe_version

IMAGE = make_image(48, 40)
SERIES = make_image(60, 32, 32)
"""Takes the light engine more than a second."""
MakeRaw = Callable[[], RawWindow]


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Return how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "waited in vain"
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture(autouse=True)
def _warm(window: RemoteEngine, version: Path) -> None:
    last(window.predict(IMAGE, version))


def test_the_server_answers_what_the_local_engine_answers(
    window: RemoteEngine, version: Path, light_python: str
) -> None:
    local = Engine(light_python)
    image = SERIES.replace_pixels(np.asfortranarray(SERIES.pixels[:3]).astype(">i2"))
    wanted = last(local.predict(image, version, with_uncertainty_map=True))
    local.close()
    *events, result = window.predict(image, version, with_uncertainty_map=True)
    assert isinstance(result, PredictionResult)
    np.testing.assert_array_equal(result.labels, wanted.labels)
    np.testing.assert_array_equal(result.uncertainty_map, wanted.uncertainty_map)
    assert result.labels.dtype == wanted.labels.dtype
    assert (result.uncertainty, result.device) == (wanted.uncertainty, "CPU"), "projects are passed on: no host in them"
    assert "slice 3 of 3" in [event.text for event in events if isinstance(event, PredictionProgress)]
    assert window.device == "127.0.0.1: CPU"


def test_the_first_labels_of_a_series_come_before_the_last(window: RemoteEngine, version: Path) -> None:
    events = window.predict(SERIES, version)
    part = next(event for event in events if isinstance(event, PredictionPart))
    assert part.first == 0
    np.testing.assert_array_equal(part.labels, SERIES.pixels[: len(part.labels)] > 0)
    rest = list(events)
    assert any(isinstance(event, PredictionProgress) and event.done > 30 for event in rest)
    assert isinstance(rest[-1], PredictionResult)


def test_a_version_is_sent_once_and_kept_by_its_hash(served: Served, window: RemoteEngine, tmp_path: Path) -> None:
    first = write_version(tmp_path / "one", b"first")
    same, other = write_version(tmp_path / "same", b"first"), write_version(tmp_path / "other", b"other")
    sent = ["sending the model" in str(list(window.predict(IMAGE, one))[:-1]) for one in (first, first, same, other)]
    assert sent == [True, False, False, True]
    kept = served.folder / "server" / "versions"
    assert not [path for path in kept.iterdir() if path.name.startswith(".")]
    assert all((path / CARD_FILE).is_file() for path in kept.iterdir())


def test_cancel_takes_less_than_half_a_second_and_leaves_the_engine_warm(
    served: Served, window: RemoteEngine, version: Path
) -> None:
    pid = served.server.engines[0].pid
    for _ in range(2):
        events = window.predict(SERIES, version)
        while not (isinstance(event := next(events), PredictionProgress) and event.done > 1):
            pass
        began = time.monotonic()
        window.cancel()
        with pytest.raises(PredictionCancelled):
            list(events)
        assert time.monotonic() - began < 0.5
        began = time.monotonic()
        last(window.predict(IMAGE, version))
        assert time.monotonic() - began < 1.0
    assert served.server.engines[0].pid == pid


def test_who_closes_the_iterator_cancels(window: RemoteEngine, version: Path) -> None:
    events = window.predict(SERIES, version)
    next(events)
    events.close()
    began = time.monotonic()
    last(window.predict(IMAGE, version))
    assert time.monotonic() - began < 1.0


def test_one_image_does_not_wait_for_the_many_of_another_user(served: Served, version: Path) -> None:
    many, few = served.tokens.add("many"), served.tokens.add("few")
    order: list[str] = []
    places: list[str] = []
    image = make_image(12, 16, 16)

    def predict(engine: RemoteEngine, name: str) -> None:
        for event in engine.predict(image, version):
            if isinstance(event, PredictionProgress) and "before you" in event.text:
                places.append(event.text)
        order.append(name)

    engines = [(served.make_engine(many), f"many {number}") for number in range(6)]
    engines.append((served.make_engine(few), "few"))
    threads = [threading.Thread(target=predict, args=pair) for pair in engines]
    with served.hold_engine() as queue:
        for number, thread in enumerate(threads):
            thread.start()
            wait_until(lambda number=number: queue.n_waiting == number + 1)  # type: ignore[misc]
    for thread in threads:
        thread.join(20)
    for engine, _ in engines:
        engine.close()
    assert order.index("few") <= 2, order
    assert any(text.startswith("waiting, ") for text in places)


@pytest.mark.parametrize("moment", ["before the pixels", "amid the pixels", "while it waits for the result"])
def test_a_client_that_dies_delays_nobody(
    served: Served, raw: MakeRaw, window: RemoteEngine, version: Path, moment: str
) -> None:
    one = raw()
    if moment == "while it waits for the result":
        one.predict(SERIES, version)
        one.receive_kind("event")
    else:
        one.order(SERIES, version)
    if moment == "amid the pixels":
        header, data = make_array_header("pixels", SERIES.pixels)
        one.send(header)
        one.send_chunk(data[:1000], 2)
    one.connection.socket.close()
    began = time.monotonic()
    last(window.predict(IMAGE, version))
    assert time.monotonic() - began < 1.0
    wait_until(lambda: served.server.n_open_orders == 0)
    assert not list((served.folder / "server" / "work").iterdir())


def test_two_hundred_connections_delay_nobody(served: Served, window: RemoteEngine, version: Path, token: str) -> None:
    tokens = [served.tokens.add(f"user{number}") for number in range(10)]
    with ExitStack() as stack:
        for number in range(200):
            stack.enter_context(served.connect(tokens[number % 10]))
        wait_until(lambda: len(served.server.users) >= 200)
        for _ in range(3):
            began = time.monotonic()
            last(window.predict(IMAGE, version))
            assert time.monotonic() - began < 1.0
    wait_until(lambda: len(served.server.users) == 1)


@pytest.mark.skipif(os.name != "posix", reason="kills by a signal")
def test_a_crash_of_the_engine_does_not_end_the_server(served: Served, window: RemoteEngine, version: Path) -> None:
    events = window.predict(SERIES, version)
    while not (isinstance(event := next(events), PredictionProgress) and event.done > 1):
        pass
    pid = served.server.engines[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RemoteRefused, match="ended unexpectedly"):
        list(events)
    assert last(window.predict(IMAGE, version)).labels.any()


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device", "/srv/secret/x"), MemoryError()])
@pytest.mark.parametrize("where", ["versions.list_missing", "engines"])
def test_a_fault_of_the_server_is_no_fault_of_the_image(
    served: Served, window: RemoteEngine, version: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, where: str
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise fault

    if where == "engines":
        monkeypatch.setattr(served.server.engines[0], "predict", fail)
    else:
        monkeypatch.setattr(served.server._resources.versions, "list_missing", fail)
    with pytest.raises(RemoteRefused, match="a fault of its own") as caught:  # then the window predicts itself
        list(window.predict(make_image(8, 8), version))
    assert "/srv" not in str(caught.value)


def make_large_version(folder: Path) -> Path:
    """A version that no server has; its weights take several frames."""
    return write_version(folder, np.random.default_rng(time.time_ns()).bytes(3 * 2**20))


@pytest.mark.parametrize("fault", ["vanishes", "is changed", "cannot be read"])
def test_a_fault_amid_the_upload_of_a_model_ends_only_that_request(
    window: RemoteEngine, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    large, link = make_large_version(tmp_path / "large"), window._link.welcome
    weights = large / WEIGHTS_FILE

    def describe(folder: Path) -> VersionSpec:
        described = describe_version(folder)
        if fault == "vanishes":
            weights.unlink()
        elif fault == "is changed":
            weights.write_bytes(bytes(weights.stat().st_size))
        return described

    def read(file: IO[bytes], n_bytes: int) -> Iterator[bytes]:
        for number, piece in enumerate(iterate_file(file, n_bytes)):
            if number:
                raise OSError(errno.EIO, "Input/output error")
            yield piece

    with monkeypatch.context() as patch:
        patch.setattr("napari_medseg.inference.remote.ordering.describe_version", describe)
        if fault == "cannot be read":
            patch.setattr("napari_medseg.inference.remote.conversation.iterate_file", read)
        with pytest.raises(FileNotSent, match=r"model\.safetensors (cannot be read|is damaged)"):
            list(window.predict(IMAGE, large))
    assert last(window.predict(IMAGE, version)).labels.any()
    assert window._link.welcome is link, "the connection is the same"


def test_a_full_disk_of_the_server_amid_the_upload_of_a_model_leaves_the_link(
    window: RemoteEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, link = make_large_version(tmp_path / "large"), window._link.welcome
    with monkeypatch.context() as patch:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch.setattr(BestEffortFile, "write", lambda self, _data: self._give_up(full))
        with pytest.raises(RemoteRefused, match="No space left on device"):
            list(window.predict(IMAGE, large))
    assert last(window.predict(IMAGE, large)).labels.any(), "it is sent again"
    assert window._link.welcome is link, "the connection is the same"
