"""Names are replaced in each kind of file, however short they are, and nothing else is."""

import csv
import io
import json

import numpy as np
import pytest

from napari_medseg.workflow.output.name_replacement import (
    REMOVED,
    NewNames,
    replace_in_json,
    replace_in_json_lines,
    replace_in_page,
    replace_in_table,
)
from training.reports import html
from training.reports.case_figure import CaseFigure

OLD = ("P01", "123", "A&B", "O'Brien", "It", "Müller, Eva", "P", "Dice")
NEW = NewNames(
    {old: f"patient {n} case {n}" for n, old in enumerate(OLD, start=1)},
    {old: f"patient {n} #{n:016x}" for n, old in enumerate(OLD, start=1)},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P01 cannot be read", "patient 1 case 1 cannot be read"),
        ("/old/P01_2.nii is damaged", "/old/patient 1 case 1_2.nii is damaged"),
        ("P011 and XP01 stay", "P011 and XP01 stay"),
        ("A&B has no labels", REMOVED),
        ("123: cannot be read", REMOVED),
        ("the loss is 0.123, epoch 1234", "the loss is 0.123, epoch 1234"),
        ("O'Brien and Müller, Eva", "patient 4 case 4 and patient 6 case 6"),
        ("stage 2 starts", "stage 2 starts"),
    ],
)
def test_prose(text: str, expected: str) -> None:
    assert NEW.replace_in_prose(text) == expected
    assert NEW.replace_in_prose(expected) == expected, "a call that goes on changes nothing twice"


def test_a_new_name_that_contains_an_old_one_stays_whole() -> None:
    new = NewNames({"patient": "patient 1 case 1", "1": "patient 2 case 1", "case": "patient 3 case 1"}, {})
    once = new.replace_in_prose("patient and case")
    assert once == "patient 1 case 1 and patient 3 case 1"
    assert new.replace_in_prose(once) == once


@pytest.mark.parametrize("old", OLD)
def test_pages_lose_names_in_captions_and_cells(old: str) -> None:
    figures = html.make_case_figures([CaseFigure(old, 0.9, np.zeros((2, 2, 3), np.uint8))])
    values = {
        "summary": html.Table(["measure"], [["mean", 123]]),
        "convention": "in words",
        "figures_by_place": {"worst": figures},
        "images": html.Table(["name", "mean_dice"], [[old, 0.123]]),
    }
    page = html.render_page("evaluation.html", "lungs-unet@2 on lungs", values)
    cleaned, new = replace_in_page(page, NEW), NEW.cases[old]
    assert cleaned.count(f"{new}: Dice 0.9000") == 2, "the caption, and the text for screen readers"
    assert f"<td>{new}</td>" in cleaned
    assert '<td class="number">123</td>' in cleaned
    assert '<td class="number">0.1230</td>' in cleaned
    assert cleaned.count("<") == page.count("<")
    assert replace_in_page(cleaned, NEW) == cleaned


def test_notices_of_a_page_with_what_may_be_a_name_are_removed() -> None:
    page = "<style>.P01{}</style><li>123 cannot be read</li><li>P01 is small</li><dd>123</dd>"
    expected = f"<style>.P01{{}}</style><li>{REMOVED}</li><li>patient 1 case 1 is small</li><dd>123</dd>"
    assert replace_in_page(page, NEW) == expected


@pytest.mark.parametrize("old", OLD)
def test_tables_lose_whole_cells_of_their_column(old: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows(
        [["name", "group", "source", "n"], [old, old, "corrections", 123], ["x", "y", "z", 1]]
    )
    cleaned = replace_in_table(written.getvalue(), NEW)
    rows = list(csv.reader(io.StringIO(cleaned, newline="")))
    assert rows[1:] == [[NEW.cases[old], NEW.groups[old], "corrections", "123"], ["x", "y", "z", "1"]]


@pytest.mark.parametrize("old", OLD)
def test_json_loses_names_of_cases_and_groups(old: str) -> None:
    value = {"images": [{"name": old, "group": old, "n": 123, "unit": "px"}], "message": f"{old}: too few labels"}
    cleaned = json.loads(replace_in_json(json.dumps(value), NEW, "a.json"))
    assert cleaned["images"] == [{"name": NEW.cases[old], "group": NEW.groups[old], "n": 123, "unit": "px"}]
    assert cleaned["message"] in (REMOVED, f"{NEW.cases[old]}: too few labels")


def test_a_damaged_json_file_loses_strings_and_words() -> None:
    torn = json.dumps([{"name": "123"}, {"name": "Müller, Eva"}, {"text": "P01 is small"}])[:-2]
    cleaned = replace_in_json(torn, NEW, "torn.json")
    assert not [old for old in ('"123"', "ller", "P01") if old in cleaned]


def test_lines_without_names_stay_as_they_are_and_damaged_ones_go() -> None:
    lines = '{"event": "Finished",  "n": 1}\n{"case": "P01", "text": "a\u2028b"}\n{"case": "P0\nx\ufffd\n'
    cleaned = replace_in_json_lines(lines, NEW, "events.jsonl")
    assert cleaned == '{"event": "Finished",  "n": 1}\n{"case": "patient 1 case 1", "text": "a\u2028b"}\n'
