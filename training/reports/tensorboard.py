"""Optional curves for TensorBoard: set `run.tensorboard = true` in the recipe, then `tensorboard --logdir RUN_DIR`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from napari_medseg.core.errors import MedSegError
from training.run_folder import TENSORBOARD_FOLDER, Compared, EpochEnded, Event, Notice


def record_events(events: Iterable[Event], run_dir: Path) -> Iterator[Event]:
    """Yield the events of a run unchanged, and write their values into its folder.

    Raises
    ------
    MedSegError
        If TensorBoard is not installed.
    """
    with _open_writer(run_dir / TENSORBOARD_FOLDER) as writer:
        for event in events:
            _write_event(writer, event)
            yield event


def _open_writer(folder: Path) -> Any:  # noqa: ANN401 - the class exists only if TensorBoard is installed
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MedSegError(
            "the recipe requests TensorBoard files, but TensorBoard is not installed. "
            "Install it (pip install napari-medseg[tensorboard]), or remove `tensorboard` from the recipe."
        ) from error
    return SummaryWriter(str(folder))


def _write_event(writer: Any, event: Event) -> None:  # noqa: ANN401 - as above
    match event:
        case EpochEnded():
            for name, value in (
                ("loss/train", event.train_loss),
                ("dice/validation", event.val_dice),
                ("learning rate", event.rate),
            ):
                writer.add_scalar(name, value, event.epoch)
            writer.flush()
        case Compared():
            writer.add_text("hold-out", f"{event.case}: {event.old:.4f} -> {event.new:.4f}")
        case Notice():
            writer.add_text("notices", event.text)
