"""The channel: certificates; and what a window does while the server cannot be reached."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served import Served, last, make_image, run_served

from napari_medseg.cli.remote.serve import make_tls
from napari_medseg.core.errors import MedSegError
from napari_medseg.inference.engine.client import Engine
from napari_medseg.inference.engine.interface import PredictionCancelled
from napari_medseg.inference.events import PredictionNotice, PredictionProgress, PredictionResult
from napari_medseg.inference.remote.address import parse_address
from napari_medseg.inference.remote.client import RemoteEngine
from napari_medseg.inference.remote.fallback import FallbackEngine, open_engine
from napari_medseg.inference.remote.messages import LinkLost, RemoteProblem
from napari_medseg.workflow.serving.limits import ServerLimits
from napari_medseg.workflow.serving.tokens import TokenFile

IMAGE = make_image(48, 40)
SERIES = make_image(60, 32, 32)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates by openssl")


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that signs itself, and its key."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


@needs_openssl
def test_only_a_server_with_the_trusted_certificate_is_asked(tmp_path: Path, light_python: str, version: Path) -> None:
    cert, key = make_certificate(tmp_path, "right")
    other, _ = make_certificate(tmp_path, "wrong")
    limits = replace(ServerLimits(), handshake_timeout_s=30.0, max_unproven=8)
    with ExitStack() as stack:
        served = stack.enter_context(run_served(tmp_path, light_python, limits, tls=make_tls(cert, key)))
        place = ("127.0.0.1", served.server.port)
        silent = [stack.enter_context(socket.create_connection(place, timeout=20.0)) for _ in range(90)]
        with contextlib.suppress(ConnectionResetError):
            assert silent[0].recv(1) == b"", "the oldest makes room, although none of them began with TLS"
        token = served.tokens.add("anna")
        assert served.uri.startswith("wss://")
        engine = served.make_engine(token, cert)
        np.testing.assert_array_equal(last(engine.predict(IMAGE, version)).labels, IMAGE.pixels > 0)
        engine.close()
        for ca_file in (other, None):
            engine = served.make_engine(token, ca_file)
            with pytest.raises(RemoteProblem, match="is not trusted"):
                list(engine.predict(IMAGE, version))
            engine.close()
        plain = RemoteEngine(parse_address(f"ws://127.0.0.1:{served.server.port}"), token)
        with pytest.raises(RemoteProblem):
            list(plain.predict(IMAGE, version))
        plain.close()


@needs_openssl
def test_who_does_not_begin_with_tls_is_closed(tmp_path: Path, light_python: str) -> None:
    limits = replace(ServerLimits(), handshake_timeout_s=0.2)
    with (
        run_served(tmp_path, light_python, limits, tls=make_tls(*make_certificate(tmp_path, "right"))) as served,
        socket.create_connection(("127.0.0.1", served.server.port), timeout=8.0) as silent,
        contextlib.suppress(ConnectionResetError),
    ):
        assert silent.recv(1) == b""


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing")
    engine = RemoteEngine(parse_address("127.0.0.1:1", tmp_path / "no.pem"), "token")
    with pytest.raises(MedSegError, match=r"no\.pem holds no certificates"):
        list(engine.predict(IMAGE, tmp_path))
    engine.close()


class Cut:
    """A server that can be stopped and started again at the same port."""

    def __init__(self, folder: Path, python: str) -> None:
        self._folder = folder
        self._python = python
        self._stack = ExitStack()
        self.tokens = TokenFile(folder / "access" / "tokens.json")
        self.served: Served = self.start()

    def start(self, port: int = 0) -> Served:
        """Start it; also the first time."""
        running = run_served(self._folder, self._python, tokens=self.tokens, port=port)
        self.served = self._stack.enter_context(running)
        return self.served

    def stop(self) -> None:
        """End all connections and the server."""
        self._stack.close()


@pytest.fixture
def cut(tmp_path: Path, light_python: str) -> Iterator[Cut]:
    server = Cut(tmp_path, light_python)
    yield server
    server.stop()


@pytest.fixture
def local(light_python: str) -> Iterator[Engine]:
    engine = Engine(light_python)
    yield engine
    engine.close()


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_a_prediction_whose_link_dies_is_repeated_here_and_the_server_comes_back(
    cut: Cut, local: Engine, version: Path
) -> None:
    engine = open_engine(cut.served.uri, cut.tokens.add("anna"), None, local)
    assert isinstance(engine, FallbackEngine)
    told: list[tuple[bool, str]] = []
    engine.link_changed.connect(lambda is_connected, text: told.append((is_connected, text)))
    events = engine.predict(SERIES, version)
    while not (isinstance(event := next(events), PredictionProgress) and event.done > 1):
        pass
    assert (engine.device, engine.cpu_reason, local.state) == ("127.0.0.1: CPU", "", "stopped")
    port = cut.served.server.port
    stopping = threading.Thread(target=cut.stop)
    stopping.start()
    *rest, result = events
    stopping.join()
    assert isinstance(result, PredictionResult)
    np.testing.assert_array_equal(result.labels, SERIES.pixels > 0)
    notice = next(event for event in rest if isinstance(event, PredictionNotice))
    assert "This computer predicts meanwhile; nothing is lost." in notice.text
    assert told[0][0] is False
    assert "This computer predicts meanwhile" in engine.cpu_reason
    assert (engine.device, engine.state) == ("CPU", "ready")
    assert not any(isinstance(event, PredictionNotice) for event in engine.predict(IMAGE, version)), "it was told once"
    cut.start(port)
    wait_until(lambda: engine.remote.is_connected)
    assert told[-1] == (True, "127.0.0.1 is back and predicts again.")
    local.close()
    assert last(engine.predict(IMAGE, version)).device == "CPU"
    assert (local.state, engine.device, engine.cpu_reason) == ("stopped", "127.0.0.1: CPU", "")
    engine.close()


def test_without_an_engine_here_the_reason_is_told_and_nothing_hangs(cut: Cut, version: Path) -> None:
    engine = open_engine(cut.served.uri, cut.tokens.add("anna"), None, None)
    assert isinstance(engine, FallbackEngine)
    last(engine.predict(IMAGE, version))
    cut.stop()
    wait_until(lambda: not engine.remote.is_connected)
    with pytest.raises(MedSegError, match="This computer has no engine of its own; what you do is kept"):
        list(engine.predict(IMAGE, version))
    engine.close()


def test_a_server_that_was_never_there_does_not_hold_up_the_window(local: Engine, version: Path) -> None:
    engine = open_engine("127.0.0.1:1", "token", None, local)
    assert isinstance(engine, FallbackEngine)
    began = time.monotonic()
    engine.start()
    assert time.monotonic() - began < 0.2
    assert last(engine.predict(IMAGE, version)).device == "CPU"
    assert "127.0.0.1:1 cannot be reached" in engine.cpu_reason
    engine.close()


def test_what_the_server_refuses_is_predicted_here(cut: Cut, local: Engine, version: Path) -> None:
    engine = open_engine(cut.served.uri, cut.tokens.add("anna"), None, local)
    assert isinstance(engine, FallbackEngine)
    large = IMAGE.replace_pixels(np.broadcast_to(np.int16(1), (40_000, 60_000)))  # 5 GB where it is not a view
    events = engine.predict(large, version)
    assert any(isinstance(event, PredictionNotice) and "at most 4,295 MB" in event.text for event in _until(events))
    assert engine.remote.is_connected
    engine.close()


def _until(events: Iterator[object]) -> Iterator[object]:
    for event in events:
        yield event
        if isinstance(event, PredictionNotice):
            events.close()  # type: ignore[attr-defined]
            return


def test_cancel_works_wherever_it_is_predicted(cut: Cut, local: Engine, version: Path) -> None:
    engine = open_engine(cut.served.uri, cut.tokens.add("anna"), None, local)
    assert isinstance(engine, FallbackEngine)
    last(engine.predict(IMAGE, version))
    for is_connected in (True, False):
        if not is_connected:
            cut.stop()
            wait_until(lambda: not engine.remote.is_connected)
            last(engine.predict(IMAGE, version))
        events = engine.predict(SERIES, version)
        while not (isinstance(event := next(events), PredictionProgress) and event.done > 1):
            pass
        began = time.monotonic()
        engine.cancel()
        with pytest.raises(PredictionCancelled):
            list(events)
        assert time.monotonic() - began < 0.5
    engine.close()


def test_settings_that_cannot_work_are_refused_at_once(local: Engine) -> None:
    assert open_engine("  ", "", None, local) is local
    with pytest.raises(MedSegError, match="a token is needed"):
        open_engine("gpu.example.org", " ", None, local)
    with pytest.raises(MedSegError, match="unencrypted to another computer"):
        open_engine("ws://gpu.example.org", "token", None, local)


def test_a_closed_engine_does_not_connect_again(cut: Cut, version: Path) -> None:
    engine = cut.served.make_engine(cut.tokens.add("anna"))
    last(engine.predict(IMAGE, version))
    engine.close()
    assert engine.state == "stopped"
    wait_until(lambda: not cut.served.server.users)
    assert last(engine.predict(IMAGE, version)).labels.any(), "the next prediction starts it"
    engine.close()
    with pytest.raises(LinkLost):
        engine._link.submit(lambda *_: None)  # type: ignore[arg-type,return-value]
