"""What every test may lean on: where the real images are, and that no process outlives the test run."""

from pathlib import Path

import held_files
import pytest
from leftover_processes import Watcher

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "fail where a file is replaced or deleted that the process has open or mapped, as Windows does"
    parser.addoption("--refuse-held-files", action="store_true", help=what)
    parser.addoption("--long", action="store_true", help="run tests/endurance for hours, see docs/reliability.md")
    parser.addoption("--minutes", type=float, default=0.0, help="with --long: the time of each part; 0 has no limit")
    parser.addoption("--long-out", default="endurance-output", help="folder of the results of --long; it is continued")
    parser.addoption("--endurance-seed", type=int, default=1, help="seed of all random numbers of tests/endurance")


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(Watcher().stop)
    if config.getoption("--refuse-held-files"):
        config.pluginmanager.register(held_files)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; only for tests marked `shared`."""
    return SHARED / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if (SHARED / "data").is_dir():
        return
    skip = pytest.mark.skip(reason="needs the images of ../shared/data, which are not part of the project")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)
