"""What every test may lean on: where the real images are, and that no process outlives the test run."""

from pathlib import Path

import held_files
import pytest
from leftover_processes import Watcher

TESTS = Path(__file__).resolve().parent
SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "in all tests, fail where a file is replaced or deleted that the process has open or mapped, as Windows does"
    parser.addoption("--refuse-held-files", action="store_true", help=what)
    parser.addoption("--long", action="store_true", help="run tests/endurance for hours, see docs/reliability.md")
    parser.addoption("--minutes", type=float, default=0.0, help="with --long: the time of each part; 0 has no limit")
    parser.addoption("--long-out", default="endurance-output", help="folder of the results of --long; it is continued")
    parser.addoption("--endurance-seed", type=int, default=1, help="seed of all random numbers of tests/endurance")


def pytest_configure(config: pytest.Config) -> None:
    config.add_cleanup(Watcher().stop)
    config.pluginmanager.register(held_files)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; only for tests marked `shared`."""
    return SHARED / "data"


# Where files are replaced while others are read: pause and resume, promotion, registry, project, export.
REPLACE_FILES = (
    "core/project",
    "core/test_atomic_io.py",
    "core/test_model_registry.py",
    "training/test_run_folder.py",
    "workflow/output",
    "workflow/test_drafts.py",
    "workflow/test_retrain.py",
    "workflow/test_review.py",
    "workflow/test_run_control.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
        is_meant = config.getoption("--refuse-held-files") or place.startswith(REPLACE_FILES)
        if is_meant and item.get_closest_marker("renames_open_folders") is None:
            item.add_marker("refuse_held_files")
    if (SHARED / "data").is_dir():
        return
    skip = pytest.mark.skip(reason="needs the images of ../shared/data, which are not part of the project")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)
