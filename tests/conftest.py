"""What every test may lean on: where the real images are, and that no process outlives the test run.

Files of tests go to memory where there is enough of it, and a run ends with the tests that took long.
"""

import gc
import os
import shutil
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import held_files
import psutil
import pytest
from crash_traces import CrashTraces
from leftover_processes import Watcher
from warm_starter import WarmStarter, start_trainings_with

from napari_medseg.inference.tuning import settings

TESTS = Path(__file__).resolve().parent
SHARED = Path(__file__).resolve().parents[2] / "shared"
MEMORY_FOLDER = Path("/dev/shm")
N_FREE_BYTES = 4 * 2**30
SLOW_S = 5.0


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
    config.pluginmanager.register(CrashTraces(config))
    if is_memory_roomy():  # a commit of SQLite takes 0.2 ms there, not 20 ms as on a disk: no test pulls the plug
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Start one process more than there are cores (`-n auto`): a test waits for other processes a third of its time."""
    asked = os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS")
    return int(asked) if asked else (psutil.cpu_count(logical=False) or os.cpu_count() or 1) + 1


def is_memory_roomy() -> bool:
    """Whether the files of all tests fit into memory, and can be executed there."""
    if not MEMORY_FOLDER.is_dir() or os.statvfs(MEMORY_FOLDER).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(MEMORY_FOLDER).free > N_FREE_BYTES


@pytest.fixture(autouse=True, scope="session")
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep all that is measured out of the user's cache, and measure nothing unasked; in processes of tests, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(settings.CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        patch.setenv(settings.MEASURE_VARIABLE, "0")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; only for tests marked `shared`."""
    return SHARED / "data"


@pytest.fixture(scope="session")
def warm_starter() -> Iterator[WarmStarter]:
    """A process that has imported torch, from which trainings are forked; it starts with the first of them."""
    starter = WarmStarter()
    yield starter
    starter.close()


@pytest.fixture(scope="module")
def warm_trainings_of_a_module(warm_starter: WarmStarter) -> Iterator[None]:
    """As `warm_trainings`, for fixtures that train once for all tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        start_trainings_with(warm_starter, patch)
        yield


@pytest.fixture
def warm_trainings(warm_starter: WarmStarter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training processes start without the ten seconds of CPU that the imports take; else they are as always."""
    start_trainings_with(warm_starter, monkeypatch)


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
    skipped = {}
    if not config.getoption("--long"):
        skipped["long"] = "takes minutes; `make endurance` runs it"
    if not (SHARED / "data").is_dir():
        skipped["shared"] = "needs the images of ../shared/data, which are not part of the project"
    for item in items:
        for marker in skipped.keys() & item.keywords:
            item.add_marker(pytest.mark.skip(reason=skipped[marker]))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Take modules and 7,500 tests, which live until the end, from the collections of garbage: all is looked at.

    The first window that closes in a process ends this, as it lets go of what it took out itself.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests over `SLOW_S`, fixtures included; nothing fails, because machines differ."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for report in (one for reports in terminalreporter.stats.values() for one in reports):
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid] += report.duration
    slow = sorted(((spent, name) for name, spent in seconds.items() if spent > SLOW_S), reverse=True)
    if slow:
        terminalreporter.section(f"{len(slow)} of {len(seconds)} tests took over {SLOW_S:.0f} s (see CONTRIBUTING.md)")
        for spent, name in slow:
            terminalreporter.write_line(f"{spent:6.1f} s  {name}")
