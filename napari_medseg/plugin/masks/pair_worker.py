"""The thread of an import of pairs: it reads and writes files; the main thread does what needs the database."""

import queue
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.errors import GridMismatchError, HeaderMismatchError, MedSegError, translate_errors
from napari_medseg.core.image import Image
from napari_medseg.workflow.accepted_files import AcceptedFiles, write_accepted_files
from napari_medseg.workflow.masks.import_masks import ImportedDraft, ImportOutcome, ImportStart, write_import
from napari_medseg.workflow.masks.pairs import LabelFolder, MaskPair
from napari_medseg.workflow.masks.read_pair import MaskSettings, ReadMask, count_values, read_pair
from napari_medseg.workflow.masks.value_names import read_value_names


@dataclass(frozen=True, eq=False)
class FirstPair:
    """What the question needs: the first image, and the values and names of its mask."""

    image: Image
    counts: dict[int, int]
    names: dict[int, str]
    is_certain: bool


@dataclass(frozen=True, eq=False)
class ReadPair:
    """A pair that was read: the main thread opens its review, and puts it into the queue."""

    pair: MaskPair
    image: Image
    read: ReadMask


@dataclass(frozen=True, eq=False)
class WrittenPair:
    """A pair whose files are written: the main thread writes its rows."""

    pair: MaskPair
    imported: ImportedDraft
    read: ReadMask
    sha256: str
    written: AcceptedFiles | None


@dataclass(frozen=True, eq=False)
class OtherGrid:
    """A pair whose mask has another grid, and why."""

    pair: MaskPair
    text: str


def read_first_pair(pair: MaskPair) -> Generator[FirstPair]:
    """Yield what the question about pairs needs."""
    image = formats.read(pair.image)
    if isinstance(pair.mask, LabelFolder) or pair.mask.has_outlines:
        yield FirstPair(image, {}, {}, is_certain=True)
    else:
        yield FirstPair(image, count_values(pair.mask.path), read_value_names(pair.mask.path), is_certain=False)


def import_in_thread(
    pairs: Sequence[MaskPair],
    settings: MaskSettings,
    folder: Path,
    replies: "queue.SimpleQueue[ImportStart | bool | None]",
    *,
    accepts: bool,
) -> Generator[ReadPair | WrittenPair | OtherGrid | ImportOutcome]:
    """Read and write one pair after the other.

    It yields a `ReadPair`, and waits for the reply with its open review (`None`: skip it); then a `WrittenPair`, and
    waits for `True`: its rows are written. Any other reply takes the labels back. What cannot be imported is yielded as
    its outcome, or as `OtherGrid`.
    """
    for pair in pairs:
        try:
            with translate_errors():
                image, read = read_pair(pair, settings)
                _ = image.content_hash  # computed here, so that the window does not block
        except (GridMismatchError, HeaderMismatchError) as error:
            yield (
                ImportOutcome(pair.name, "refused", str(error)) if settings.resamples else OtherGrid(pair, str(error))
            )
            continue
        except MedSegError as error:
            yield ImportOutcome(pair.name, "refused", str(error))
            continue
        yield ReadPair(pair, image, read)
        if not isinstance(begun := replies.get(), ImportStart):
            continue
        try:
            with translate_errors():
                item = _write_pair(pair, image, read, begun, folder, settings, accepts=accepts)
        except MedSegError as error:
            yield ImportOutcome(pair.name, "refused", str(error))
            continue
        is_recorded = False
        try:
            yield item
            is_recorded = replies.get() is True
        finally:  # also if the user stopped, so that nothing is delivered
            if not is_recorded:
                item.imported.take_back()
            item.imported.draft.close()


def _write_pair(
    pair: MaskPair,
    image: Image,
    read: ReadMask,
    begun: ImportStart,
    folder: Path,
    settings: MaskSettings,
    *,
    accepts: bool,
) -> WrittenPair:
    imported = write_import(begun, read.labels)
    written = None
    try:
        if accepts:
            written = write_accepted_files(
                folder, settings.task, begun.case, read.labels, image, imported.draft.review_region
            )
        return WrittenPair(pair, imported, read, pair.compute_sha256(settings.describe()), written)
    except BaseException:
        imported.take_back()
        imported.draft.close()
        raise
