"""What the values of a mask mean for a task: as a person says, as names in the files say, or as the task numbers them.

What a person says is remembered for the folder of the masks and the task, in the project.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_medseg.core.errors import MedSegError
from napari_medseg.core.formats.mask_placement import AS_STATED, MaskPlacement
from napari_medseg.core.records import RememberedMeaning, now
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.workflow.masks.value_names import map_names_to_labels
from napari_medseg.workflow.workspace import Workspace
from training.from_folders.mask_values import WHITE_VALUES, MaskEncoding

MAX_NAMES_LISTED = 6
logger = logging.getLogger(__name__)


class MaskMeaning(BaseModel):
    """What the values of masks mean.

    Parameters
    ----------
    label_of
        Label value of each mask value; 0 is background. Empty: the masks have the values of the task.
    others_are_background
        Whether all values are background that `label_of` does not have; else they are refused.
    binarise
        Whether all values except 0 are the only label of the task.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label_of: dict[int, int] = {}
    others_are_background: bool = False
    binarise: bool = False

    @classmethod
    def from_values(cls, values: tuple[tuple[int, ...], ...], task: Task, *, others_are_background: bool) -> Self:
        """Return the meaning of `--values`: mask values of each label, in the order of the labels.

        Raises
        ------
        MedSegError
            If they do not fit the task.
        """
        MaskEncoding(task, values)
        pairs = zip(values, task.labels, strict=False)
        label_of = {value: label.value for of_label, label in pairs for value in of_label}
        return cls(label_of=label_of, others_are_background=others_are_background)

    def covers(self, values: Iterable[int]) -> bool:
        """Whether these mask values all have a meaning."""
        return self.binarise or self.others_are_background or set(values) <= {0, *self.label_of}

    def make_encoding(self, task: Task, placement: MaskPlacement = AS_STATED) -> MaskEncoding:
        """Return the same for the readers of masks.

        Raises
        ------
        MedSegError
            If no value is a label of the task.
        """
        if task.instances or not self.label_of:
            one = self.binarise and len(task.labels) == 1
            others = self.others_are_background and not one
            return MaskEncoding(task, binarise=one, placement=placement, others_are_background=others)
        values = tuple(
            tuple(value for value, label in self.label_of.items() if label == wanted.value) for wanted in task.labels
        )
        if not any(values):
            raise MedSegError(
                f"no value of the mask is a label of {task.title}. Say which values are: {list_labels(task)}."
            )
        background = tuple(value for value, label in self.label_of.items() if label == 0)
        return MaskEncoding(
            task,
            values,
            placement=placement,
            background=background,
            others_are_background=self.others_are_background,
        )

    def describe(self, task: Task) -> str:
        """Return the meaning as text, such as ``10+11 right lung, 12 left lung, others background``."""
        if task.instances:
            return f"each value is one {task.labels[0].name}"
        if self.binarise:
            return f"all values are {task.labels[0].name}"
        if not self.label_of:
            return "values as the task numbers them"
        parts = []
        for label in task.labels:
            if of_label := [str(value) for value, meant in self.label_of.items() if meant == label.value]:
                parts.append(f"{'+'.join(of_label)} {label.name}")
        return ", ".join([*parts, "others background"][: len(parts) + self.others_are_background])


AS_THE_TASK = MaskMeaning()


@dataclass(frozen=True)
class ProposedMeaning:
    """What values seem to mean, and whether a person must be asked.

    Parameters
    ----------
    meaning
        The proposal.
    origin
        Where it comes from.
    is_certain
        Whether it can be used without a question.
    names
        Names of values that the files state.
    """

    meaning: MaskMeaning
    origin: Literal["remembered", "names", "values"]
    is_certain: bool
    names: Mapping[int, str]


def propose_meaning(
    task: Task, values: Iterable[int], names: Mapping[int, str], remembered: MaskMeaning | None
) -> ProposedMeaning:
    """Return what the values of a mask seem to mean.

    A remembered meaning is certain if it covers all values; names if all values have one, and each label of the task or
    each value is understood; numbered objects always. Of a task with one
    label, 1 and the white of the file are this label. Of several labels, the values of the task are only likely: many
    programs number right and left the other way.

    Parameters
    ----------
    task
        The task of the labels.
    values
        Values of the mask.
    names
        Their names, as of `read_value_names`.
    remembered
        What a person said about this source; `None` if nothing.
    """
    found = {int(value) for value in values} - {0}
    if remembered is not None and remembered.covers(found):
        return ProposedMeaning(remembered, "remembered", True, names)
    if task.instances:
        return ProposedMeaning(AS_THE_TASK, "values", True, names)
    if label_of := map_names_to_labels(dict(names), task):
        meaning = MaskMeaning(label_of=label_of, others_are_background=True)
        is_certain = found <= set(names) and (found <= set(label_of) or _has_all_labels(label_of, task))
        return ProposedMeaning(meaning, "names", is_certain, names)
    known = {label.value for label in task.labels}
    if len(known) == 1 and len(found) <= 1:
        is_usual = found <= {*known, *WHITE_VALUES}
        return ProposedMeaning(MaskMeaning(label_of=dict.fromkeys(found, *known)), "values", is_usual, names)
    proposed = MaskMeaning(label_of={value: value if value in known else 0 for value in sorted(found)})
    return ProposedMeaning(proposed, "values", not found, names)


def choose_meaning(task: Task, names: Mapping[int, str], said: MaskMeaning | None) -> MaskMeaning:
    """Return the meaning without a question: as a person said, else by the names, else the values of the task.

    Raises
    ------
    MedSegError
        If the files name the values, and no name is a label, or only some labels of the task and some values have a
        name that is understood: the rest would become background without a word.
    """
    if said is not None or task.instances or not names:
        return said or AS_THE_TASK
    label_of = map_names_to_labels(dict(names), task)
    unknown = {value: name for value, name in names.items() if value and value not in label_of}
    if label_of and (not unknown or _has_all_labels(label_of, task)):
        return MaskMeaning(label_of=label_of, others_are_background=True)
    if label_of:
        understood = ", ".join(f"{value} {names[value]}" for value in label_of)
        other = ", ".join(f"{value} {name}" for value, name in list(unknown.items())[:MAX_NAMES_LISTED])
        raise MedSegError(
            f"of the names of the values only {understood} are labels of {task.title} ({list_labels(task)}), and "
            f"{other} would become background. Give --values with the value of each label, and --others-background if "
            "the rest is background."
        )
    listed = ", ".join(f"{value} {name}" for value, name in list(names.items())[:MAX_NAMES_LISTED])
    more = ", ..." * (len(names) > MAX_NAMES_LISTED)
    raise MedSegError(
        f"the files name their values {listed}{more}, but none of them is a label of {task.title}: "
        f"{list_labels(task)}. Give --values with the value of each label, or another --task."
    )


def _has_all_labels(label_of: Mapping[int, int], task: Task) -> bool:
    return set(label_of.values()) >= {label.value for label in task.labels}


def list_labels(task: Task) -> str:
    """Return the labels of a task as text, such as ``1 right lung, 2 left lung``."""
    return ", ".join(f"{label.value} {label.name}" for label in task.labels)


def remember_meaning(ws: Workspace, task: str, folder: Path, meaning: MaskMeaning) -> None:
    """Remember what a person said about the masks of a folder."""
    if recall_meaning(ws, task, folder) != meaning:
        source = _key_source(ws, folder)
        ws.project.insert(RememberedMeaning(0, task, source, meaning.model_dump_json(), now()))


def recall_meaning(ws: Workspace, task: str, folder: Path) -> MaskMeaning | None:
    """Return what a person said last about the masks of a folder for this task; `None` if nothing."""
    said = ws.project.read_records(RememberedMeaning, "source", _key_source(ws, folder))
    texts = [row.meaning for row in said if row.task == task]
    try:
        return MaskMeaning.model_validate_json(texts[-1]) if texts else None
    except ValidationError:
        logger.warning("the remembered meaning of mask values is damaged; it is not used")
        return None


def _key_source(ws: Workspace, folder: Path) -> str:
    return ws.project.identities.hash_text(str(folder.resolve()))
