"""`python -P -m training RUN_DIR`: train in a process of its own; the run folder is all that goes in and out."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_medseg.core.errors import MedSegError
from training.events import Event, Failed, Finished, Notice, Started, append_event, read_events
from training.recipe import read_recipe

LOG_FILE = "log.txt"

logger = logging.getLogger("training")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the folder named on the command line; 0 when it ended with a model, 1 when it failed, 2 without a folder."""
    started = time.monotonic()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if len(words) != 1 or not Path(words[0]).is_dir():
        sys.stderr.write("usage: python -P -m training RUN_DIR\nRUN_DIR holds recipe.json and snapshot.json.\n")
        return 2
    run_dir = Path(words[0]).absolute()
    logging.basicConfig(
        filename=run_dir / LOG_FILE, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if any(isinstance(event, Finished) for event, _ in read_events(run_dir)):
        logger.info("the run is finished already")
        return 0
    try:
        for event in run(run_dir, started):
            logger.info("%s", event)
            append_event(run_dir, event)
    except MedSegError as error:
        logger.info("failed: %s", error)
        append_event(run_dir, Failed(str(error)))
        return 1
    except Exception as error:
        append_event(run_dir, Failed(f"{type(error).__name__}: {error}. This is a bug: please report {LOG_FILE}."))
        raise
    return 0


def run(run_dir: Path, started: float) -> Iterator[Event]:
    """Train as the folder says, from its beginning or from its checkpoint.

    Parameters
    ----------
    run_dir
        With `recipe.json` and `snapshot.json`; with `start.json` where it trains the first model of its task.
    started
        `time.monotonic()` when the process began, so that importing torch counts against the budget.

    Raises
    ------
    MedSegError
        If the folder is not complete, the hold-out leaks, or there is nothing to learn from.
    """
    from training.loop import resume, train
    from training.result import finish, score_base
    from training.setup import RECIPE_FILE, read_setup
    from training.start import make_start

    began_with = make_start(run_dir, read_recipe(run_dir / RECIPE_FILE).seed)
    setup = read_setup(run_dir, started)
    yield Started(
        n_train=len(setup.batches.train),
        n_replay=len(setup.batches.replay),
        n_validate=len(setup.split.validate),
        n_hold_out=len(setup.split.hold_out),
        device=str(setup.learner.device),
        budget_s=setup.recipe.budget_s,
        time=time.time(),
    )
    if began_with:
        yield Notice(began_with)
    progress = resume(setup)
    if progress.epoch:
        yield Notice(f"the run goes on after epoch {progress.epoch}")
    old = score_base(setup)
    if setup.split.notice:
        yield Notice(setup.split.notice)
    if len(old) < len(setup.split.hold_out):
        yield Notice(f"the budget suffices to compare {len(old)} of {len(setup.split.hold_out)} hold-out cases")
    yield from train(setup, progress)
    yield from finish(setup, progress, old)


if __name__ == "__main__":
    sys.exit(main())
