"""`python -P -m training.adapt FOLDER`: adapt a version at the lowest priority; input and output are in the folder.

While the folder holds the file `pause`, it waits: predictions come first. With `--end-with-stdin` it ends when its
stdin is closed, so that it never outlives the window that started it.
"""

import argparse
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from napari_medseg.core.decoded_size.limit import MAX_MEMORY_OPTION, allow_memory
from napari_medseg.core.errors import MedSegError, get_reason, translate_errors
from training.adapt.request import (
    END_OPTION,
    LOG_FILE,
    PAUSE_FILE,
    AdaptResult,
    wait_for_end_of_stdin,
    write_result,
)

NICENESS = 19
POLL_S = 0.05
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Adapt; return 0 if a result was written, also one that is not kept."""
    parser = argparse.ArgumentParser(prog="python -P -m training.adapt", description=__doc__)
    parser.add_argument("folder", type=Path, help="holds request.json and snapshot.json")
    parser.add_argument(MAX_MEMORY_OPTION, type=int, help="bytes that the pixels of one image may take")
    parser.add_argument(END_OPTION, action="store_true", help="end as soon as stdin is closed")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    logging.raiseExceptions = False  # a log on a full disk must not fill stderr with tracebacks
    logging.basicConfig(filename=folder / LOG_FILE, level=logging.INFO, format=LOG_FORMAT, encoding="utf-8")
    if options.end_with_stdin:
        threading.Thread(target=_exit_at_end_of_stdin, name="stdin", daemon=True).start()
    try:
        with translate_errors(), allow_memory(options.max_memory):
            from training.adapt.adapter import adapt

            write_result(adapt(folder, lambda: wait_while_paused(folder)), folder)
    except MedSegError as error:
        logger.warning("%s", error)
        return _report(AdaptResult(kept=False, text=get_reason(error)), folder)
    return 0


def wait_while_paused(folder: Path) -> None:
    """Return when the folder holds no file `pause`."""
    while (folder / PAUSE_FILE).exists():
        time.sleep(POLL_S)


def _exit_at_end_of_stdin() -> None:
    wait_for_end_of_stdin()
    os._exit(2)  # nobody needs the result


def _report(result: AdaptResult, folder: Path) -> int:
    try:
        write_result(result, folder)
    except (MedSegError, OSError) as error:  # a full disk, or the folder is gone: the window sees that no result came
        logger.warning("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    sys.exit(main())
