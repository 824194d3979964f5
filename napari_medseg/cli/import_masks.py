"""`medseg import`: make drafts or corrections of masks that other programs or persons made."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from napari_medseg.cli.console import echo, echo_json, make_progress_console
from napari_medseg.cli.mask_options import (
    MASKS,
    BinariseOption,
    MaskOrientationOption,
    SameVoxelsOption,
    ValuesOption,
    parse_values,
)
from napari_medseg.cli.options import (
    JsonOption,
    MaxMemoryOption,
    ProjectOption,
    RegistryOption,
    get_project_dir,
    open_or_make_workspace,
)
from napari_medseg.core.atomic_io import refuse_unwritable_folder
from napari_medseg.core.errors import MedSegError, name_problem
from napari_medseg.core.formats.mask_placement import MaskPlacement
from napari_medseg.workflow.data_set.card import CARD_FILE, read_data_card

if TYPE_CHECKING:
    from napari_medseg.core.tasks.bundled_tasks import Task
    from napari_medseg.workflow.masks.import_masks import ImportOutcome, OutcomeState
    from napari_medseg.workflow.masks.meaning import MaskMeaning
    from napari_medseg.workflow.masks.packed_folders import OpenedFolder
    from training.from_folders.mask_pairing import Mismatch

MAX_LISTED = 20

FolderArgument = Annotated[
    Path | None,
    typer.Argument(
        help="Data set of medseg dataset, or imagesTr and labelsTr of nnU-Net: folder or zip.", show_default=""
    ),
]
ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder or zip of images; a DICOM series is a folder in it.")
]
MasksOption = Annotated[
    Path | None,
    typer.Option(
        "--masks",
        help="Masks named like the images: a folder or zip of NIfTI, TIFF or PNG, of folders with one file for each "
        "label, of DICOM-SEG or RTSTRUCT, or a COCO file. It may be the folder of the images.",
    ),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", "-t", help="Task, see medseg tasks list.", show_default="that of the newest case"),
]
AcceptOption = Annotated[
    bool, typer.Option("--accept", help="Accept the labels as corrections at once, instead of making drafts.")
]
SecondReadingOption = Annotated[
    str,
    typer.Option(
        "--second-reading",
        help="Import the masks as the second reading of accepted cases, by the person of this name.",
        show_default="",
    ),
]
OthersOption = Annotated[
    bool,
    typer.Option(
        "--others-background",
        help="Values that are no label become background, as of a mask of the whole body.",
        rich_help_panel=MASKS,
    ),
]
ResampleOption = Annotated[
    bool,
    typer.Option(
        "--resample",
        help="Bring masks on another grid to that of their image by nearest neighbour, instead of refusing them.",
        rich_help_panel=MASKS,
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also import images that modality, body part or view rule out for the task.")
]


def import_masks(
    folder: FolderArgument = None,
    images: ImagesOption = None,
    masks: MasksOption = None,
    project: ProjectOption = None,
    task: TaskOption = None,
    accept: AcceptOption = False,
    second_reading: SecondReadingOption = "",
    values: ValuesOption = "",
    binarise: BinariseOption = False,
    others_background: OthersOption = False,
    resample: ResampleOption = False,
    mask_orientation: MaskOrientationOption = None,
    same_voxels: SameVoxelsOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    max_memory: MaxMemoryOption = None,
    registry: RegistryOption = None,
) -> None:
    """Import masks of TotalSegmentator, nnU-Net, another program or a colleague, as drafts or corrections.

    A data set that `medseg dataset` wrote brings its task, groups and hold-out, and its labels become corrections.

    What the values mean is taken from --values, else from the last import of these masks, else from the names that a
    dataset.json or the files state, else they are the values of the task. Pairs that do not fit are refused one by one;
    then the exit code is 1. The command can be repeated: what is there already is skipped, also after Ctrl+C.

    Example: `medseg import --images imagesTr --masks labelsTr --project P --task lungs --accept`
    """
    from napari_medseg.workflow.cases import find_last_task
    from napari_medseg.workflow.masks.import_masks import import_pairs
    from napari_medseg.workflow.masks.meaning import recall_meaning, remember_meaning
    from napari_medseg.workflow.masks.packed_folders import open_folder
    from napari_medseg.workflow.masks.pairs import find_pairs
    from napari_medseg.workflow.masks.read_pair import MaskSettings

    refuse_unwritable_folder(get_project_dir(project))
    opened = None if folder is None else open_folder(folder)
    if opened is not None and (opened.path / CARD_FILE).is_file() and images is None and masks is None:
        _import_data_set(opened, project, registry, force=force, as_json=as_json)
        return
    images, masks = _choose_folders(None if opened is None else opened.path, images, masks)
    pairs, lacking = find_pairs(images, masks, None if opened is None else opened.archive)
    console = make_progress_console(quiet=as_json)
    outcomes = []
    with open_or_make_workspace(project, registry) as ws:
        wanted = find_last_task(ws) if task is None else ws.tasks.get_task(task)
        said = _read_meaning(wanted, values, binarise=binarise, others_background=others_background)
        meaning = said or recall_meaning(ws, wanted.name, masks)
        if meaning is not None:
            console.print(f"Values of the masks: {meaning.describe(wanted)}", highlight=False, markup=False)
        placement = MaskPlacement(mask_orientation, same_voxels)
        settings = MaskSettings(wanted, meaning, placement, resample, second_reading.strip())
        found = import_pairs(ws, pairs, settings, accepts=accept, force=force)
        for outcome in track(found, description=wanted.title, total=len(pairs), console=console):
            outcomes.append(outcome)
            if said is not None and outcome.state != "refused":  # values that fit no mask are a slip
                remember_meaning(ws, wanted.name, masks, said)
            _show_refusal(console, outcome)
    _tell(wanted, outcomes, lacking, as_json=as_json)


def _show_refusal(console: Console, outcome: "ImportOutcome") -> None:
    if outcome.state == "refused":
        console.print(f"refused: {outcome.name}: {outcome.text}", highlight=False, markup=False, soft_wrap=True)


def _tell(task: "Task", outcomes: "Sequence[ImportOutcome]", lacking: "Sequence[Mismatch]", *, as_json: bool) -> None:
    """Print what became of all; the exit code is 1 if one was refused."""
    if as_json:
        echo_json(_describe(task, outcomes, lacking))
    else:
        for line in _format_result(outcomes, lacking):
            echo(line)
    if any(outcome.state == "refused" for outcome in outcomes):
        raise typer.Exit(1)


def _import_data_set(
    opened: "OpenedFolder", project: Path | None, registry: Path | None, *, force: bool, as_json: bool
) -> None:
    from napari_medseg.workflow.data_set.read import adopt_task, import_data_set

    console = make_progress_console(quiet=as_json)
    card = read_data_card(opened.path)
    with open_or_make_workspace(project, registry) as ws:
        task = adopt_task(ws, card.task_definition)
        found = import_data_set(ws, opened.path, card, force=force, archive=opened.archive)
        outcomes = []
        for outcome in track(found, description=task.title, total=len(card.cases), console=console):
            outcomes.append(outcome)
            _show_refusal(console, outcome)
    _tell(task, outcomes, [], as_json=as_json)


def _choose_folders(folder: Path | None, images: Path | None, masks: Path | None) -> tuple[Path, Path]:
    """Return the folders of images and masks: those of the options, or those of nnU-Net in a folder."""
    if folder is not None:
        images, masks = images or folder / "imagesTr", masks or folder / "labelsTr"
        if not images.is_dir() or not masks.exists():
            raise MedSegError(
                f"{folder} is no data set: it has neither {CARD_FILE} nor the folders imagesTr and labelsTr. "
                "Give --images and --masks."
            )
    if images is None or masks is None:
        raise MedSegError("give a data set, or both --images and --masks.")
    return images, masks


def _read_meaning(task: "Task", values: str, *, binarise: bool, others_background: bool) -> "MaskMeaning | None":
    """Return what the options say about the values; `None` if nothing."""
    from napari_medseg.workflow.masks.meaning import MaskMeaning
    from training.from_folders.mask_values import MaskEncoding

    if not (values or binarise or others_background):
        return None
    by_label = parse_values(values)
    MaskEncoding(task, by_label, binarise)  # refuses options that contradict each other
    if by_label:
        return MaskMeaning.from_values(by_label, task, others_are_background=others_background)
    return MaskMeaning(binarise=binarise, others_are_background=others_background)


def _format_result(outcomes: "Sequence[ImportOutcome]", lacking: "Sequence[Mismatch]") -> Iterator[str]:
    """Yield what became of the pairs: remarks with the number of pairs, what has no partner, and the sum."""
    remarks = Counter(note for outcome in outcomes for note in outcome.notes)
    for note, count in remarks.most_common(MAX_LISTED):
        yield f"note: {note}" + (f" ({count} pairs)" if count > 1 else "")
    for kind, count in Counter(one.kind for one in lacking).items():
        alike = [name_problem(one.name, one.text) for one in lacking if one.kind == kind]
        yield f"{kind}: {count}"
        yield from (f"  {text}" for text in alike[:MAX_LISTED])
        if count > MAX_LISTED:
            yield f"  and {count - MAX_LISTED} more"
    states = Counter(outcome.state for outcome in outcomes)
    texts: dict[OutcomeState, str] = {
        "accepted": "accepted as corrections",
        "second reading": "imported as second readings",
        "draft": "imported as drafts",
        "already there": "there already",
        "refused": "refused",
    }
    counted = [f"{states[state]} {text}" for state, text in texts.items() if states[state]]
    yield f"{len(outcomes)} pairs: {', '.join(counted) or 'nothing was imported'}"


def _describe(task: "Task", outcomes: "Sequence[ImportOutcome]", lacking: "Sequence[Mismatch]") -> dict[str, Any]:
    pairs = [
        {
            "name": one.name,
            "state": one.state,
            "reason": one.text,
            "notes": list(one.notes),
            "case": None if one.case is None else one.case.id,
        }
        for one in outcomes
    ]
    return {"task": task.name, "pairs": pairs, "unpaired": [{"kind": one.kind, "name": one.name} for one in lacking]}
