import unicodedata

import pytest

from napari_medseg.core.name_matching import find_name, fold_name, unify_name

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Müller_é") for form in ("NFC", "NFD"))


def test_composed_and_decomposed_names_are_one_text() -> None:
    assert COMPOSED != DECOMPOSED
    assert unify_name(DECOMPOSED) == COMPOSED == unify_name(COMPOSED)
    assert unify_name("x²") != unify_name("x2"), "only what looks the same is the same"
    assert fold_name("STRASSE") == fold_name("Straße")
    assert unify_name("P1") != unify_name("p1"), "they may be two patients"


@pytest.mark.parametrize(
    ("name", "names", "found"),
    [
        (COMPOSED, [DECOMPOSED, "other"], DECOMPOSED),
        (DECOMPOSED.upper(), [COMPOSED], COMPOSED),
        ("a", ["A", "a"], "a"),
        ("b", ["B", "b "], "B"),
        ("Ab", ["AB", "ab"], None),
        ("c", [], None),
    ],
)
def test_a_name_is_found_as_it_is_spelt_or_by_its_case(name: str, names: list[str], found: str | None) -> None:
    assert find_name(name, names) == found
