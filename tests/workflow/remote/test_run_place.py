import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_medseg.inference.engine.absent import AbsentEngine
from napari_medseg.workflow.remote import engine_choice
from napari_medseg.workflow.remote.run_place import switch_engine


def test_a_window_does_not_wait_for_a_server_that_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()

    class SlowEngine(AbsentEngine):
        def close(self) -> None:
            time.sleep(1.0)
            closed.set()

    new = AbsentEngine()
    monkeypatch.setattr(engine_choice, "choose_engine", lambda _registry: new)
    ws = SimpleNamespace(engine=SlowEngine(), registry=None)
    began = time.monotonic()
    switch_engine(ws)
    assert time.monotonic() - began < 0.5
    assert ws.engine is new
    assert closed.wait(5.0)
