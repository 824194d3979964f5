"""Which corrections are learnt from: none that is held out, none of a blind second reading."""

from dataclasses import replace

from napari_medseg.core.readings.records import SECOND
from napari_medseg.core.records import Case, Correction
from napari_medseg.workflow.learning.choice import MAX_LEARNT, N_NEWEST, choose_corrections, list_usable

CASE = Case(0, "lungs", "", "", "", "YX", (1, 1), None, (), False, "")
CORRECTION = Correction(0, 0, 0, "", "", "", "", 0.0, 0, "", "")


def make_pairs(n_cases: int, n_groups: int = 1) -> list[tuple[Case, Correction]]:
    return [
        (replace(CASE, id=n, group=f"patient {n % n_groups}"), replace(CORRECTION, id=n)) for n in range(1, n_cases + 1)
    ]


def ids(pairs: tuple[tuple[Case, Correction], ...]) -> list[int]:
    return [correction.id for _, correction in pairs]


def test_held_out_cases_and_second_readings_are_not_usable() -> None:
    plain, held, second = make_pairs(3)
    held = (replace(held[0], held_out=True), held[1])
    second = (second[0], replace(second[1], reading=SECOND))
    assert list_usable([second, held, plain]) == [plain]


def test_with_few_groups_all_are_learnt_and_later_one_validates() -> None:
    assert ids(choose_corrections(make_pairs(4, 2), ()).learnt) == [1, 2, 3, 4]
    choice = choose_corrections(make_pairs(6, 6), ())
    assert len(choice.learnt) == 5
    assert len(choice.compared) == 1


def test_a_group_that_was_learnt_from_does_not_validate() -> None:
    pairs = make_pairs(10, 10)
    learnt, unseen = choose_corrections(pairs, ()).compared
    choice = choose_corrections(pairs, [learnt[1].id])
    assert choice.compared == (unseen,)
    assert learnt in choice.learnt
    assert not choice.begins_anew


def test_a_state_that_has_seen_every_validation_case_is_left() -> None:
    pairs = make_pairs(12, 6)
    first = choose_corrections(pairs, ())
    seen = [correction.id for _, correction in first.compared][:1]
    choice = choose_corrections(pairs, seen)
    assert choice.begins_anew
    assert (choice.learnt, choice.compared) == (first.learnt, first.compared)
    assert not first.begins_anew
    assert not choose_corrections(make_pairs(4, 2), [1, 2]).begins_anew  # too few groups to validate


def test_of_many_the_newest_and_some_older_ones_are_read() -> None:
    learnt = ids(choose_corrections(make_pairs(100), ()).learnt)
    assert len(learnt) == MAX_LEARNT
    assert learnt == sorted(set(learnt))
    assert learnt[-N_NEWEST:] == [97, 98, 99, 100]
    assert learnt[0] == 1
