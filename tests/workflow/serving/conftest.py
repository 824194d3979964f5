from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from light_engine import write_light_python
from served import QUICK, RawWindow, Served, run_served, write_version

from napari_medseg.inference.remote.client import RemoteEngine


@pytest.fixture(scope="session")
def light_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Starts an engine without torch."""
    return write_light_python(tmp_path_factory.mktemp("light"))


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("versions") / "1")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, light_python: str) -> Iterator[Served]:
    """A server for all tests of a file: what one client does must not harm the next one."""
    with run_served(tmp_path_factory.mktemp("served"), light_python, QUICK) as running:
        yield running


@pytest.fixture(scope="module")
def token(served: Served) -> str:
    return served.tokens.add("anna")


@pytest.fixture
def window(served: Served, token: str) -> Iterator[RemoteEngine]:
    """The engine of a well-behaved window."""
    engine = served.make_engine(token)
    yield engine
    engine.close()


@pytest.fixture
def raw(served: Served, token: str) -> Iterator[Callable[[], RawWindow]]:
    """Makes clients that can misbehave."""
    opened: list[RawWindow] = []

    def make() -> RawWindow:
        opened.append(RawWindow(served.connect(token)))
        return opened[-1]

    yield make
    for one in opened:
        one.connection.close()
