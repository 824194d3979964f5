"""A name that a registry does not hold: the error lists the names that it does."""

import re

import pytest

from napari_medseg.core.errors import MedSegError, look_up

COLOURS = {"red": "#FF0000", "blue": "#0000FF"}


def test_look_up_returns_the_entry() -> None:
    assert look_up(COLOURS, "red", "colour") == "#FF0000"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "unknown colour 'green'; choose one of ['blue', 'red']"),
        ({"advice": ", or mix it"}, "unknown colour 'green'; choose one of ['blue', 'red'], or mix it"),
        ({"problem": "no paint is 'green'"}, "no paint is 'green'; choose one of ['blue', 'red']"),
    ],
)
def test_look_up_lists_the_choices(options: dict[str, str], text: str) -> None:
    with pytest.raises(MedSegError, match=f"^{re.escape(text)}$"):
        look_up(COLOURS, "green", "colour", **options)
