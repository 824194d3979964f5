"""What can be opened: the images that were found in files, folders and archives."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_medseg.core.containers.array_layout import ArrayHeader, ArrayLayout
from napari_medseg.core.containers.part_paths import get_whole_path
from napari_medseg.core.containers.zip_archive import UnpackedArchive
from napari_medseg.core.dicom.headers import DicomHeader, NoImageError
from napari_medseg.core.errors import MedSegError

MAX_NAMED = 6
MAX_IMAGES = 20_000
"""Of one array, along its axis of images."""


@dataclass(frozen=True)
class ImageSource:
    """One image that can be opened.

    Parameters
    ----------
    name
        Name to show in a list or a message.
    paths
        Its files: several for a DICOM series. A path may lead into a file, see `core.containers.part_paths`.
    series
        DICOM SeriesInstanceUID; ``""`` if there is none.
    headers
        DICOM headers in the order of `paths`, so that opening reads only the pixels; empty for other formats.
    problem
        Why it cannot be read, for a path that is missing or a folder that cannot be listed; reading raises this text.
    files
        Where the content of `paths` lies now: the file of a part, or a file that was unpacked. `paths` by default.
    whole, part
        The file or series of which it is one part, and which part; ``""`` if it is an image of its own.
    array, layout
        What a file of arrays says, and what a person said about its axes; `None` if it is no array, or nothing is said.
    archive
        The archive that it was unpacked from, whose files stay as long as this object; `None` if there is none.
    """

    name: str
    paths: tuple[Path, ...]
    series: str = ""
    headers: tuple[DicomHeader, ...] = field(default=(), repr=False)
    problem: str = ""
    files: tuple[Path, ...] = field(default=(), repr=False)
    whole: str = ""
    part: str = ""
    array: ArrayHeader | None = None
    layout: ArrayLayout | None = None
    archive: UnpackedArchive | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.files:
            object.__setattr__(self, "files", self.paths)

    @property
    def asks_axes(self) -> bool:
        """Whether a person should say what the axes of an array are."""
        return self.array is not None and not self.array.is_clear and not (self.layout and self.layout.axes)

    @property
    def array_kind(self) -> str:
        """What is equal for arrays of which one answer holds: folder, format, type and length of colours."""
        return f"{self.paths[0].parent} {self.paths[0].suffix} {self.array.kind if self.array else ''}"

    def lay_out(self, layout: ArrayLayout) -> list["ImageSource"]:
        """Return the images of an array whose axes a person described, one for each image in it.

        Raises
        ------
        MedSegError
            If the layout does not fit the shape.
        """
        assert self.array is not None
        if problem := layout.find_problem(self.array.shape):
            raise MedSegError(f"{self.name}: {problem}.")
        number = 0 if self.layout is None else self.layout.array
        n_images = layout.count_images(self.array.shape)
        refuse_many_images(n_images, self.name)
        said = [replace(layout, array=number, image=n) for n in (range(1, n_images + 1) if n_images > 1 else [0])]
        whole = get_whole_path(self.paths[0])
        return [
            replace(
                self,
                name=f"{self.name} image {each.image}" if each.image else self.name,
                paths=(each.make_part_path(whole),),
                layout=each,
                whole=self.whole or (self.name if each.image else ""),
                part=" ".join(filter(None, (self.part, f"image {each.image}" if each.image else ""))),
            )
            for each in said
        ]

    def move_to(self, archive: UnpackedArchive) -> "ImageSource":
        """Return the source of unpacked files under their paths in the archive."""
        paths = tuple(archive.get_inner_path(path) for path in self.paths)
        return replace(self, paths=paths, files=self.files, archive=archive)


def refuse_many_images(n_images: int, name: str) -> None:
    """Refuse an array that would become more cases than a person can want."""
    if n_images > MAX_IMAGES:
        raise MedSegError(f"{name} holds {n_images:,} images; at most {MAX_IMAGES:,} are opened. Save a part of them.")


@dataclass(frozen=True)
class FoundImages:
    """Images in files and folders.

    Parameters
    ----------
    sources
        The images that can be opened.
    skipped
        DICOM files in the folders that hold no image: segmentations, doses, presentation states, reports.
    segmentations
        Names of the segmentations of 3D Slicer, and of labels that the program wrote, in the folders.
    archives
        Names of the zip archives in the folders, which are opened only if they are named.
    remarks
        What else a person should know, one sentence each: files that a DICOMDIR lists and that are missing.
    """

    sources: tuple[ImageSource, ...]
    skipped: tuple[NoImageError, ...] = ()
    segmentations: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def asks_which(self) -> bool:
        """Whether a person should choose: several DICOM series of one study, or several parts of one file or series."""
        series = {source.series for source in self.sources if source.series and len(source.headers) > 0}
        return len(series) > 1 or any(source.whole for source in self.sources)

    @property
    def note(self) -> str:
        """Sentences that name the skipped and missing files; empty if there are none."""
        left_out = ", ".join(self.segmentations[:MAX_NAMED])
        left_out += f" and {len(self.segmentations) - MAX_NAMED} more" * (len(self.segmentations) > MAX_NAMED)
        about = f"Segmentations are no images and were left out: {left_out}." if left_out else ""
        closed = ", ".join(self.archives[:MAX_NAMED])
        packed = f"Archives in the folder were not opened; open them one by one: {closed}." if closed else ""
        return " ".join(filter(None, (self._note_skipped(), about, packed, *self.remarks)))

    def _note_skipped(self) -> str:
        if not self.skipped:
            return ""
        names = [f"{each.name} {each.kind}" for each in self.skipped[:MAX_NAMED]]
        more = f" and {len(self.skipped) - MAX_NAMED} more" if len(self.skipped) > MAX_NAMED else ""
        return f"DICOM without an image was skipped: {', '.join(names)}{more}."


def format_sources(sources: Sequence[ImageSource], at_most: int = 6) -> str:
    """Names of sources for a message."""
    names = [
        f"{source.name} ({len(source.paths)} files)" if len(source.paths) > 1 else source.name for source in sources
    ]
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more
