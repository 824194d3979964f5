"""Codes of labels are those of a published list, not from memory."""

import pytest
from pydicom.sr._concepts_dict import concepts

from napari_medseg.core.tasks import clinical_codes
from napari_medseg.core.tasks.bundled_tasks import TASKS, Label, Task
from napari_medseg.core.tasks.clinical_codes import Code, find_code

NOT_IN_DICOM = {("SCT", "95436008"): "Lung consolidation"}
"""SNOMED CT codes that DICOM does not list, with the name in the OMOP vocabulary."""


def find_meaning(code: Code) -> str:
    names = {value: meaning for listed in concepts[code.scheme].values() for value, (meaning, _) in listed.items()}
    return names.get(code.value) or NOT_IN_DICOM[code.scheme, code.value]


@pytest.mark.parametrize("word", clinical_codes._KINDS)
def test_each_word_has_the_code_with_its_meaning(word: str) -> None:
    category, kind = clinical_codes._KINDS[word]
    assert find_meaning(category) == category.meaning
    meaning = find_meaning(kind).lower()
    same = {"spleen": "splenic", "pancreas": "pancreatic", "prostate": "prostatic", "ground-glass": "ground glass"}
    assert same.get(word, word) in meaning


def test_sides_have_their_codes() -> None:
    for code in (clinical_codes.RIGHT, clinical_codes.LEFT):
        assert find_meaning(code) == code.meaning
    right, left = (find_code(TASKS["lungs"], value) for value in (1, 2))
    assert (right.side, left.side) == (clinical_codes.RIGHT, clinical_codes.LEFT)


def test_a_name_that_no_list_has_gets_a_private_code() -> None:
    task = Task(name="larynx", title="Larynx", labels=(Label(3, "glottal space", "#E69F00"),), axes=("YXC",))
    code = find_code(task, 3).kind
    assert (code.value, code.scheme, code.meaning) == ("LARYNX_3", "99MEDSEG", "glottal space")
