"""The verdict of the promotion gate on a run, from the files of its folder. No torch here: the window reads it too."""

from pathlib import Path

from napari_medseg.core.atomic_io import read_file
from napari_medseg.core.errors import MedSegError, report_damage
from napari_medseg.core.grouping.keyed_groups import find_group_noun
from napari_medseg.core.quality.promotion_gate import Verdict, decide_promotion
from napari_medseg.core.snapshot import Role, read_snapshot
from training.run_folder import EARLIER_COMPARISONS_FILE, LABEL_PROBLEM_FILE, SNAPSHOT_FILE, Compared, read_events


def read_compared_cases(run_dir: Path) -> list[Compared]:
    """Return the hold-out cases that a run has compared; if a case was compared again after a pause, the last time."""
    return list({event.case: event for event, _ in read_events(run_dir) if isinstance(event, Compared)}.values())


def write_earlier_comparisons(run_dir: Path, n_earlier: int) -> None:
    """Write how many earlier comparisons the hold-out of this run has served; a run never opens the project."""
    (run_dir / EARLIER_COMPARISONS_FILE).write_text(f"{n_earlier}\n", encoding="utf-8")


def read_earlier_comparisons(run_dir: Path) -> int | None:
    """Return how many earlier comparisons the hold-out has served; `None` if that is not known."""
    path = run_dir / EARLIER_COMPARISONS_FILE
    if not path.exists():
        return None
    try:
        return int(read_file(path))
    except (OSError, ValueError):
        report_damage(f"{path} is damaged: it holds no number. The earlier comparisons are counted again.")
        return None


def read_verdict(run_dir: Path, n_earlier: int) -> Verdict:
    """Decide about the candidate of a run, after so many earlier comparisons on its hold-out."""
    doubt = run_dir / LABEL_PROBLEM_FILE
    why = doubt.read_text(encoding="utf-8", errors="replace") if doubt.is_file() else ""
    rows = read_compared_cases(run_dir)
    return decide_promotion(rows, label_problem=why, n_earlier=n_earlier, noun="" if rows else _find_noun(run_dir))


def _find_noun(run_dir: Path) -> str:
    """Return what the groups of a run are, patients, slides or videos, although none of them was compared."""
    path = run_dir / SNAPSHOT_FILE
    try:
        items = read_snapshot(path).items if path.is_file() else ()
    except MedSegError:
        return ""  # damaged; it is reported where its content is needed
    return find_group_noun([item.group for item in items if item.role is not Role.REPLAY])
