"""The errors that users see. Their text says what is wrong, what was expected and what to do.

Errors of files, disks, memory and libraries become messages at the edges of the program: commands, slots, workers,
engine and trainer use `translate_errors`. Only a fault of this program keeps its traceback.
"""

import errno
import logging
import re
import struct
import traceback
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from napari_medseg.window_requirements import COMPUTING_MODULES, explain_no_computing

# What libraries write in their own exceptions when a disk is full; the numbers are those of Linux and Windows.
_FULL_DISK_TEXTS = ("No space left on device", "os error 28)", "os error 112)", "Disk quota exceeded", "disk is full")

T = TypeVar("T")

logger = logging.getLogger(__name__)
damage_logger = logging.getLogger("napari_medseg.damage")
"""Its warnings are for the user: commands print them, the window shows them."""
_reported_damage: set[str] = set()
_collected_damage: list[list[str]] = []

_FREE_SPACE = "Free disk space, or choose another disk."
_PERMISSION = "Ask for permission, close other programs that use it, or choose another folder."
_ADVICE = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: _FREE_SPACE,
    errno.EFBIG: "Choose a disk that allows larger files.",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "Choose a folder on another disk; this one cannot be written to.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOENT: "Check the name, or whether a drive is disconnected.",
    errno.EAGAIN: "The system allows no more processes or threads; close other programs.",
    errno.EMFILE: "Close other files and programs.",
    errno.EIO: "The disk or network reports a fault; use another one.",
}
_OUT_OF_MEMORY_ON_WINDOWS = frozenset({8, 14, 1450, 1455})
"""Windows gives them as `OSError`: not enough memory, too few resources, paging file too small."""
_OUT_OF_MEMORY_TEXTS = (
    *("out of memory", "out_of_memory", "outofmemory", "not enough memory", "insufficient memory"),
    *("can't allocate memory", "cannot allocate memory", "unable to allocate", "failed to allocate"),
    *("memory allocation failed", "memoryallocation", "bad_alloc", "bad allocation"),
    *("alloc_failed", "allocfailed", "invalid buffer size"),
    "unable to find a valid cudnn algorithm",  # none of them fits into the memory that is left
)
"""What torch, CUDA, cuDNN, HIP, Metal and C++ write in a `RuntimeError` about a failed allocation, in lower case."""
_GPU_FAILURE = re.compile(
    r"(CUDA|HIP) out of memory|kIOGPU|Invalid buffer size"
    r"|CUDA (driver )?error|CUDA-capable|compiled with CUDA|NVIDIA driver|no kernel image|nvrtc|\bHIP error|\bhipError"
    r"|(?i:cudnn|cublas|cusolver|cufft|miopen|rocblas|hipblas)|\bMPS\b|\bMPS(Graph|NDArray)|\bMetal\b"
)
"""What the libraries of GPUs write in their own errors. An error that only names a device, such as ``cuda:0``, is ours.

Only Metal has an invalid buffer size. The memory of the computer has other texts (``DefaultCPUAllocator``)."""
_DEFAULT_ADVICE = "Choose another folder, or free disk space."
# Libraries whose own exceptions are about a file or its content, by the first part of their module; they are not
# imported here, because most commands do without most of them.
_FILE_LIBRARIES = frozenset(
    {"gzip", "imagecodecs", "json", "lzma", "nibabel", "PIL", "pydantic", "pydantic_core", "pydicom", "safetensors"}
    | {"safetensors_rust", "sqlite3", "tifffile", "tomllib", "xml", "zipfile"}
)
_OWN_PACKAGES = ("napari_medseg", "training")
_FAILED_LOAD_TEXTS = ("shared object", "DLL load failed", "dlopen(", "undefined symbol", "version `")
"""What Linux, Windows and macOS write about a binary file of a library that they cannot load."""
_FAULTS_OF_OUR_OWN = frozenset({"IntegrityError", "InterfaceError", "ProgrammingError", "PydanticUserError"})


class MedSegError(Exception):
    """A problem that the user can solve. Its text is shown unchanged, without a traceback.

    Anything that is not a `MedSegError` is a bug and keeps its traceback.
    """


class GridMismatchError(MedSegError):
    """Labels and image differ in size, spacing or position."""


class HeaderMismatchError(GridMismatchError):
    """Labels and image have the same size, but their files state another spacing, position or orientation."""


class IrregularSlicesError(MedSegError):
    """The slices of a series do not form a regular volume, but can be opened one by one."""


def look_up(registry: Mapping[str, T], name: str, kind: str = "name", *, problem: str = "", advice: str = "") -> T:
    """Return the entry with a name.

    Parameters
    ----------
    registry
        Entries by name.
    name
        Name of the entry.
    kind
        Kind of entry, for the error: ``"loss"`` in ``unknown loss 'x'; choose one of [...]``.
    problem
        Start of the error text, instead of ``unknown <kind> <name>``.
    advice
        End of the error text after the choices, including a leading comma.

    Raises
    ------
    MedSegError
        If there is no entry with that name; the text lists all names, sorted.
    """
    if name not in registry:
        raise MedSegError(f"{problem or f'unknown {kind} {name!r}'}; choose one of {sorted(registry)}{advice}")
    return registry[name]


def name_problem(name: str, problem: str) -> str:
    """Return the text of a problem with the name of what has it in front, once."""
    return problem if problem.startswith(name) else f"{name}: {problem}"


def format_os_error(error: OSError) -> str:
    """Return the reason of a failed file operation and what to do, as one sentence each."""
    return f"{get_reason(error)}. {_ADVICE.get(error.errno or 0, _DEFAULT_ADVICE)}"


def get_reason(error: Exception) -> str:
    """Return the reason of an error as text; never empty. Some libraries raise `OSError` without a `strerror`."""
    reason = error.strerror if isinstance(error, OSError) else None
    return " ".join((reason or str(error) or type(error).__name__).split())[:300].rstrip(".")


def explain(error: Exception) -> MedSegError | None:
    """Return an error as a message to the user; `None` if it is a fault of this program, which keeps its traceback."""
    kind = type(error).__name__
    if isinstance(error, MedSegError):
        return error
    if is_out_of_memory(error):
        place = "on the GPU" if is_gpu_failure(error) else "in this computer"
        return MedSegError(
            f"there is not enough memory {place}. Close other programs and images, or use smaller ones, then try again."
        )
    if is_gpu_failure(error):
        return MedSegError(
            f"the GPU failed: {get_reason(error)}. Choose the CPU (--device cpu; in the window: Preferences), or "
            "update the driver. `medseg doctor` tests every device."
        )
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        return MedSegError(f"{place}{format_os_error(error)}")
    if (full := _explain_full_system(error)) is not None:
        return full
    if _is_failed_installation(error):
        return _explain_failed_installation(error)
    is_of_file = _is_of_file_library(type(error)) or _is_of_parser(error)
    if is_of_file or isinstance(error, UnicodeError | struct.error | zlib.error):
        return MedSegError(f"a file cannot be used: {get_reason(error)} ({kind}). Check it, or copy it again.")
    return None


def _explain_full_system(error: Exception) -> MedSegError | None:
    """Return a message if libraries report a full disk, or Python that the system gives no further thread."""
    if any(text in str(error) for text in _FULL_DISK_TEXTS) or _is_caused_by_full_disk(error):
        return MedSegError(f"the disk is full: {get_reason(error)}. {_FREE_SPACE}")
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return MedSegError(
            "the system allows no more threads. Close other programs, or raise the limit on processes (ulimit -u)."
        )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a failed allocation, of the computer or of a GPU; libraries report it under many names."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or getattr(error, "winerror", None) in _OUT_OF_MEMORY_ON_WINDOWS
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY_TEXTS)


def is_gpu_failure(error: BaseException) -> bool:
    """Whether the GPU or its libraries cannot go on: driver, memory, a lost device, or an operation that they lack."""
    if isinstance(error, OSError) or not isinstance(error, RuntimeError | TypeError | AssertionError):
        return False  # a TypeError: Metal has no float64; an AssertionError: torch is built without CUDA
    is_of_device = type(error).__name__ in ("AcceleratorError", "OutOfMemoryError")  # the CPU has other ones
    return is_of_device or _GPU_FAILURE.search(str(error)) is not None


def report_damage(message: str) -> None:
    """Tell the user about a damaged file while the program goes on; once, however often the file is read.

    For files of this program that cost only what they hold. The message says what is lost and where the file is.
    """
    for collected in _collected_damage:
        collected.append(message)
    if message not in _reported_damage:
        _reported_damage.add(message)
        damage_logger.warning("%s", message)


@contextmanager
def collect_damage() -> Iterator[list[str]]:
    """Collect what `report_damage` is told inside the context, also what was said before; for a report of all of it."""
    collected: list[str] = []
    _collected_damage.append(collected)
    try:
        yield collected
    finally:
        _collected_damage[:] = [one for one in _collected_damage if one is not collected]


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise errors of files, disks, memory and libraries as `MedSegError`; faults of this program pass unchanged.

    For the edges of the program. Code that knows the file and the advice raises a better `MedSegError` itself.
    """
    try:
        yield
    except MedSegError:
        raise
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        logger.debug("shown as a message", exc_info=error)
        raise explained from error


def _is_failed_installation(error: Exception) -> bool:
    """Whether a library of others is missing, or one of its binary files cannot be loaded."""
    if isinstance(error, ModuleNotFoundError):
        return (error.name or "").partition(".")[0] not in _OWN_PACKAGES
    return isinstance(error, ImportError) and any(text in str(error) for text in _FAILED_LOAD_TEXTS)


def _explain_failed_installation(error: Exception) -> MedSegError:
    """Return a message about a library that is missing; without torch, the program is meant to be a window only."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in COMPUTING_MODULES:
        return MedSegError(f"{explain_no_computing('predict or train')}.")
    return MedSegError(
        f"a library cannot be loaded: {get_reason(error)}. Close other programs if memory is short; otherwise "
        "install napari-medseg again, as docs/install.md says."
    )


def _is_caused_by_full_disk(error: Exception) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)


def _is_of_parser(error: Exception) -> bool:
    """Whether a parser met too deep a nesting or too long a number; Python has no error of its own for them."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    place = str(frames[-1].f_globals.get("__name__", "")) if frames else ""
    return isinstance(error, RecursionError | ValueError) and place.partition(".")[0] in ("json", "tomllib")


def _is_of_file_library(kind: type[Exception]) -> bool:
    roots = {parent.__module__.partition(".")[0] for parent in kind.__mro__}
    return bool(roots & _FILE_LIBRARIES) and kind.__name__ not in _FAULTS_OF_OUR_OWN
