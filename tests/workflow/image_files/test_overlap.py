"""The end of one image beside the beginning of the next: the same answers in the same order."""

import threading
from collections.abc import Callable

import pytest

from napari_medseg.core.errors import MedSegError
from napari_medseg.workflow.image_files.overlap import work_in_order

BAD_BEGIN, BAD_END = 2, 4


def work(overlaps: bool) -> tuple[list[int | str], dict[int, str]]:
    threads: dict[int, str] = {}

    def begin(number: int) -> Callable[[], int]:
        if number == BAD_BEGIN:
            raise OSError("the disk is gone")

        def end() -> int:
            threads[number] = threading.current_thread().name
            if number == BAD_END:
                raise MedSegError("no labels")
            return number * 10

        return end

    answers = work_in_order(range(6), begin, overlaps=overlaps)
    return [str(one) if isinstance(one, MedSegError) else one for one in answers], threads


def test_answers_and_errors_come_in_order_with_and_without_overlap() -> None:
    here, inside = work(False)
    there, beside = work(True)
    assert here == there
    assert [here[0], here[1], here[3], here[5]] == [0, 10, 30, 50]
    assert "the disk is gone" in str(here[BAD_BEGIN])
    assert here[BAD_END] == "no labels"
    assert set(inside.values()) == {threading.current_thread().name}
    assert len(set(beside.values())) == 1
    assert threading.current_thread().name not in beside.values()


def test_the_next_item_begins_while_the_one_before_ends() -> None:
    began = threading.Event()

    def begin(number: int) -> Callable[[], bool]:
        if number == 1:
            began.set()
        return lambda: number == 1 or began.wait(10)

    assert list(work_in_order(range(2), begin, overlaps=True)) == [True, True]


def test_a_fault_of_the_program_is_not_hidden() -> None:
    def begin(number: int) -> Callable[[], int]:
        return lambda: 1 // number

    with pytest.raises(ZeroDivisionError):
        list(work_in_order([0], begin, overlaps=True))
