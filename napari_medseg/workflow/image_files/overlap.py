"""Work on many images, one after the other or with the end of one beside the beginning of the next."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from napari_medseg.core.errors import MedSegError, translate_errors

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def work_in_order(
    items: Iterable[Item], begin: Callable[[Item], Callable[[], Answer]], *, overlaps: bool
) -> Iterator[Answer | MedSegError]:
    """Work on each item in two parts, and yield the answers in the order of the items, errors in their places.

    Parameters
    ----------
    items
        What is worked on.
    begin
        The first part, always in this thread; it returns the second one.
    overlaps
        Whether the second part runs in a thread while the next item begins. All second parts run in order in one
        thread. On a CPU they would only take the cores from each other.
    """
    if not overlaps:
        for item in items:
            yield _end(_begin(begin, item))
        return
    with ThreadPoolExecutor(1, "end of an image") as worker:
        before: Future[Answer | MedSegError] | None = None
        for item in items:
            begun = _begin(begin, item)
            if before is not None:
                yield before.result()
            before = worker.submit(_end, begun)
        if before is not None:
            yield before.result()


def _begin(begin: Callable[[Item], Callable[[], Answer]], item: Item) -> Callable[[], Answer] | MedSegError:
    try:
        with translate_errors():
            return begin(item)
    except MedSegError as error:
        return error


def _end(begun: Callable[[], Answer] | MedSegError) -> Answer | MedSegError:
    if isinstance(begun, MedSegError):
        return begun
    try:
        with translate_errors():
            return begun()
    except MedSegError as error:
        return error
