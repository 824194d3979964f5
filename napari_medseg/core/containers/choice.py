"""Which of several images are meant: a list to choose from, and the choice as text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from napari_medseg.core.containers.image_source import ImageSource
from napari_medseg.core.errors import MedSegError

ALL, LIST = "all", "list"
_NUMBERS = re.compile(r"\d{1,6}(?:-\d{1,6})?(?:,\d{1,6}(?:-\d{1,6})?)*")
MAX_LISTED = 60


@dataclass(frozen=True)
class SourceSummary:
    """What a list says of an image before it is read; what is not known is ``""`` or 0.

    `count` is the number of slices or frames, `size` the pixels of one, `study` names what belongs together.
    """

    title: str
    modality: str
    date: str
    count: int
    size: str
    study: str

    @property
    def text(self) -> str:
        """One line."""
        slices = f"{self.count} slice{'s' if self.count != 1 else ''} of {self.size}" if self.count else ""
        return "  ".join(filter(None, (self.modality, self.title, self.date, slices)))


def summarise(source: ImageSource) -> SourceSummary:
    """Return what the list says of an image."""
    if not source.headers:
        sides = () if source.array is None else source.array.shape
        size = " x ".join(map(str, sides))
        return SourceSummary(source.name + (f" ({size})" if size else ""), "", "", 0, "", source.whole)
    first = source.headers[0]
    count = sum(len(header.planes) for header in source.headers)
    rows, columns = first.planes[0].shape
    number = f"series {first.number}" if first.number else ""
    title = " ".join(filter(None, (number, first.description, source.part))) or source.name
    return SourceSummary(title, first.modality, first.date, count, f"{columns} x {rows}", first.patient)


def list_sources(sources: Sequence[ImageSource], first: int = 1) -> list[str]:
    """Return a line for each image, with its number from `first` on; the middle of a long list is left out."""
    lines = [f"{number:>4}  {summarise(source).text}" for number, source in enumerate(sources, first)]
    if len(lines) <= MAX_LISTED:
        return lines
    half = MAX_LISTED // 2
    return [*lines[:half], f"      ... {len(lines) - 2 * half:,} more ...", *lines[-half:]]


def choose_sources(sources: Sequence[ImageSource], text: str) -> list[ImageSource]:
    """Return the images that a text means.

    Parameters
    ----------
    sources
        All that were found.
    text
        ``"all"``, numbers of the list (``"1,3-5"``), or a part of the name, the description or the series UID.

    Raises
    ------
    MedSegError
        If none is meant; the text lists them.
    """
    wanted = text.strip()
    if wanted.lower() == ALL:
        return list(sources)
    if _NUMBERS.fullmatch(wanted.replace(" ", "")):
        ranges = [[int(end) for end in word.split("-")] for word in wanted.replace(" ", "").split(",")]
        found = [s for n, s in enumerate(sources, 1) if any(each[0] <= n <= each[-1] for each in ranges)]
    else:
        found = [source for source in sources if wanted and _matches(source, wanted.casefold())]
    if not found:
        listed = "\n".join(list_sources(sources))
        raise MedSegError(f"no series is {text!r}. Choose numbers of this list, a part of a name, or all:\n{listed}")
    return found


def refuse_unchosen_parts(sources: Sequence[ImageSource]) -> tuple[list[ImageSource], list[str]]:
    """Return the images of which nobody has to choose one, and a message for each file or series of several parts."""
    wholes: dict[tuple[str, str], list[ImageSource]] = {}
    for source in sources:
        if source.whole:
            wholes.setdefault((str(source.paths[0].parent), source.whole), []).append(source)
    numbers = {id(source): number for number, source in enumerate(sources, 1)}
    problems = []
    for (_, whole), parts in wholes.items():
        first = numbers[id(parts[0])]
        listed = "\n".join(list_sources(parts, first))
        problems.append(
            f"{whole} holds {len(parts):,} images. Drop it on the window to choose, or add --series {first} (several: "
            f"1,3-5), or --series all for one result each:\n{listed}"
        )
    return [source for source in sources if not source.whole], problems


def _matches(source: ImageSource, wanted: str) -> bool:
    described = [header.description for header in source.headers[:1]]
    return any(wanted in text.casefold() for text in (source.name, source.part, source.series, *described))
