"""What a run leaves: the new version, its comparison with the old one on the hold-out, its card and its report."""

import importlib.metadata
import itertools
import logging
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_medseg.core.cards import DataSource, Lineage, ModelCard, write_card
from napari_medseg.core.clock import now
from napari_medseg.core.gate import MIN_GROUPS
from napari_medseg.core.snapshots import Role, SnapshotItem
from napari_medseg.inference.predictor import Predictor
from napari_medseg.networks import CARD_FILE, save_version
from training.checkpoint import Progress, clear, load_best
from training.evaluate import judge_case, judge_nothing
from training.events import Compared, Event, Finished, Notice, read_events
from training.judge import labelled_case, write_worst
from training.loop import is_cancelled
from training.pairs import LabelledCase
from training.pictures import CasePicture, picture_of
from training.report import write_report
from training.scores import CaseScore, Evaluation
from training.setup import Setup

COMPARISON_SHARE = 0.25
MIN_COMPARED = MIN_GROUPS
RESERVE = 1.2
N_PICTURES = 4
LABELS_BY = "the references of the snapshot"
CORRECTIONS = "corrections"

logger = logging.getLogger(__name__)


def score_base(setup: Setup) -> list[CaseScore]:
    """Measure the version that the run starts from on the hold-out, before anything else.

    Its time tells what the same for the new version will take; that is reserved on the clock. Under a budget, cases
    are taken from all patients in turn until a quarter of the budget is used, but at least as many as the gate needs.
    The first model of a task is compared with an empty answer.
    """
    clock = setup.clock
    limit_s = float("inf") if clock.budget_s is None else COMPARISON_SHARE * clock.budget_s
    predictor = _predictor_of(setup, setup.base_folder)
    began = clock.elapsed_s()
    scores: list[CaseScore] = []
    for case in _hold_out(setup):
        if len(scores) >= MIN_COMPARED and clock.elapsed_s() - began > limit_s:
            break
        score = judge_case(predictor, case, setup.task).score
        scores.append(judge_nothing(case, setup.task).score if setup.is_first else score)
    clock.reserved_s += RESERVE * (clock.elapsed_s() - began)
    return scores


def finish(setup: Setup, progress: Progress, old: Sequence[CaseScore]) -> Iterator[Event]:
    """Write the best version, compare it with the old one case by case, and write card and report."""
    network = setup.learner.parent
    load_best(setup.run_dir, network)
    card = save_version(network, _card(setup), setup.run_dir)
    if not progress.best_epoch:
        yield Notice("no epoch was better than the version that the run started from: the result is that version")
    predictor = _predictor_of(setup, setup.run_dir)
    cases = {case.name: case for case in _hold_out(setup)}
    new, worst = list[CaseScore](), list[CasePicture]()
    for before in old:
        if len(new) >= MIN_COMPARED and setup.clock.is_over():  # something else took the processor since the start
            yield Notice(f"the budget is used up: {len(new)} of {len(old)} hold-out cases are compared")
            break
        judged = judge_case(predictor, cases[before.name], setup.task)
        after = judged.score
        new.append(after)
        worst = sorted([*worst, picture_of(judged, setup.task)], key=lambda case: case.dice)[:N_PICTURES]
        figures = (before.figure, after.figure, before.dice, after.dice)
        yield Compared(before.name, before.source, *figures, before.group, before.metric)
    if new:
        scores = Evaluation(card.id, card.task, tuple(new)).summary(LABELS_BY)
        card = card.model_copy(update={"hold_out": scores})
        write_card(card, setup.run_dir / CARD_FILE)
        write_worst(worst, setup.run_dir)
    write_report(setup.run_dir, card, [event for event, _ in read_events(setup.run_dir)], worst)
    cancelled = is_cancelled(setup.run_dir)
    yield Finished(progress.best_epoch, progress.best_val_dice, cancelled, setup.clock.elapsed_s())
    clear(setup.run_dir)  # last, so that a run that is killed here need not begin again


def in_turn(items: Sequence[SnapshotItem]) -> list[SnapshotItem]:
    """Order items so that each group has its turn before any has a second one."""
    groups: dict[str, list[SnapshotItem]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    rounds = itertools.zip_longest(*groups.values())
    return [item for one_round in rounds for item in one_round if item is not None]


def code_version() -> str:
    """Return the package's version, with the commit where it runs from a checkout."""
    version = importlib.metadata.version("napari-medseg")
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return version
    return f"{version}+{answer.stdout.strip()}"


def _hold_out(setup: Setup) -> list[LabelledCase]:
    return [labelled_case(item, setup.run_dir) for item in in_turn(setup.split.hold_out)]


def _predictor_of(setup: Setup, folder: Path) -> Predictor:
    device = str(setup.learner.device)
    field_base = setup.recipe.field_base
    field = Predictor.load(setup.run_dir / field_base, device) if field_base else None
    return Predictor.load(folder, device, field)


def _card(setup: Setup) -> ModelCard:
    """Return the new card; a base model's sources are on the card that it starts with, corrections are added."""
    recipe, base = setup.recipe, setup.base
    is_retrain = bool(base.lineage.created)
    learnt = setup.snapshot.with_role(Role.TRAIN, Role.VALIDATE)
    corrected = [item for item in learnt if is_retrain or item.source == CORRECTIONS]
    sources = list(base.training_data)
    if corrected:
        sources.append(
            DataSource(
                name=CORRECTIONS,
                n_images=len(corrected),
                groups=len({item.group for item in corrected}),
                labels="the user's accepted corrections",
                licence="the user's own data",
            )
        )
    lineage = Lineage(
        parent=base.id if is_retrain else base.lineage.parent,
        began_with="" if is_retrain else base.lineage.began_with,
        run=setup.run_dir.absolute().name,
        snapshot_sha256=setup.snapshot.sha256,
        n_corrections=len(corrected),
        seed=recipe.seed,
        code_version=code_version(),
        created=now(),
    )
    changes = {
        "name": recipe.name,
        "version": recipe.version,
        "training_data": sources,
        "hold_out": [],
        "lineage": lineage,
    }
    return base.model_copy(update=changes)
