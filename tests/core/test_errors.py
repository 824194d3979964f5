"""A name that a registry does not hold, and the many names of full memory and failed GPUs."""

import errno
import re
from collections.abc import Callable

import pytest
from pretend_gpu import COMPUTER_MEMORY_ERRORS, FAULTS_OF_OURS, GPU_ERRORS, GPU_MEMORY_ERRORS, MEMORY_ERRORS

from napari_medseg.core.errors import MedSegError, explain, is_gpu_failure, is_out_of_memory, look_up

COLOURS = {"red": "#FF0000", "blue": "#0000FF"}


def test_look_up_returns_the_entry() -> None:
    assert look_up(COLOURS, "red", "colour") == "#FF0000"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "unknown colour 'green'; choose one of ['blue', 'red']"),
        ({"advice": ", or mix it"}, "unknown colour 'green'; choose one of ['blue', 'red'], or mix it"),
        ({"problem": "no paint is 'green'"}, "no paint is 'green'; choose one of ['blue', 'red']"),
    ],
)
def test_look_up_lists_the_choices(options: dict[str, str], text: str) -> None:
    with pytest.raises(MedSegError, match=f"^{re.escape(text)}$"):
        look_up(COLOURS, "green", "colour", **options)


@pytest.mark.parametrize("error", MEMORY_ERRORS.values(), ids=MEMORY_ERRORS)
def test_full_memory_is_recognised_under_all_its_names(error: Callable[[], Exception]) -> None:
    assert is_out_of_memory(error())
    assert "there is not enough memory" in str(explain(error()))


def test_the_memory_of_a_gpu_is_told_from_that_of_the_computer() -> None:
    for error in GPU_MEMORY_ERRORS.values():
        assert is_gpu_failure(error()), error()
        assert "not enough memory on the GPU" in str(explain(error()))
    for error in COMPUTER_MEMORY_ERRORS.values():
        assert not is_gpu_failure(error()), error()
        assert "not enough memory in this computer" in str(explain(error()))


@pytest.mark.parametrize("error", GPU_ERRORS.values(), ids=GPU_ERRORS)
def test_a_failed_gpu_is_a_message_that_names_the_way_out(error: Callable[[], Exception]) -> None:
    assert is_gpu_failure(error())
    assert not is_out_of_memory(error())
    assert re.search("the GPU failed: .*--device cpu.*medseg doctor", str(explain(error())))


@pytest.mark.parametrize("error", FAULTS_OF_OURS.values(), ids=FAULTS_OF_OURS)
def test_a_fault_of_ours_is_no_failure_of_a_device(error: Callable[[], Exception]) -> None:
    assert not is_out_of_memory(error())
    assert not is_gpu_failure(error())
    assert explain(error()) is None


def test_a_file_named_after_a_gpu_is_a_file() -> None:
    error = OSError(errno.EACCES, "Permission denied", "CUDA error out of memory.png")
    assert not is_out_of_memory(error)
    assert not is_gpu_failure(error)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        ImportError("DLL load failed while importing _C: The specified module could not be found."),
        ModuleNotFoundError("No module named 'nibabel'", name="nibabel"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_a_message(error: ImportError) -> None:
    assert re.search(r"a library cannot be loaded: .*install napari-medseg again", str(explain(error)))


def test_a_computer_without_torch_is_told_what_predicts_and_trains() -> None:
    text = str(explain(ModuleNotFoundError("No module named 'torch'", name="torch")))
    assert re.search("torch is not installed here.*Choose a server .*or install it", text)


def test_a_wrong_import_of_ours_is_a_fault_of_ours() -> None:
    assert explain(ImportError("cannot import name 'Image' from 'napari_medseg.core.image'")) is None
    assert explain(ModuleNotFoundError("No module named 'training.loss'", name="training.loss")) is None


def test_too_many_threads_and_processes_are_a_message() -> None:
    for error in (RuntimeError("can't start new thread"), BlockingIOError(errno.EAGAIN, "Resource temporarily busy")):
        assert re.search("no more .*threads", str(explain(error)))
