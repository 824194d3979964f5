"""The label of a task that a name stands for, such as the name of a file, of a folder or of a segment."""

import re

from napari_medseg.core.name_matching import fold_name
from napari_medseg.core.tasks.bundled_tasks import Task

LOBES = {"upper", "lower", "middle"}
_PARTS = {*LOBES, "lobe"}
"""Words for a part of what a label names: all lobes of a lung are the lung."""
_EMPTY_WORDS = {"the", "of", "mask", "masks", "seg", "segmentation", "segmentations", "label", "labels", "opacity"}
_SAME_WORDS = {
    "l": ("left",),
    "lt": ("left",),
    "r": ("right",),
    "rt": ("right",),
    "lungs": ("lung",),
    "nuclei": ("nucleus",),
    "opacities": (),
    "ggo": ("ground", "glass"),
    "groundglass": ("ground", "glass"),
    "lobes": ("lobe",),
}


def find_label(name: str, task: Task) -> int | None:
    """Return the value of the only label of a task that has this name; `None` if there is none.

    Names are compared by their words, in any order: ``lung_left`` and ``lung_upper_lobe_left`` are the label
    ``left lung``, ``lung_nodule_left`` is not. Words that all labels have may be missing: ``leftMask`` is ``left lung``
    beside ``right lung``.
    """
    wanted = split_words(name) - _PARTS
    words_of = {label.value: split_words(label.name) - _PARTS for label in task.labels}
    shared = set.intersection(*words_of.values()) if len(words_of) > 1 else set()
    for extra in (set(), shared):
        fitting = [value for value, words in words_of.items() if wanted and wanted | extra == words]
        if fitting:
            return fitting[0] if len(fitting) == 1 else None
    return None


def split_words(name: str) -> set[str]:
    """Return the words of a name in one spelling, without those that say nothing, such as ``mask``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[^\w]+|_+", fold_name(spaced)) if word]
    return {same for word in words for same in _SAME_WORDS.get(word, (word,))} - _EMPTY_WORDS
