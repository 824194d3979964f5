"""What can be opened: the images that were found in files, folders and archives."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_medseg.core.containers.zip_archive import UnpackedArchive
from napari_medseg.core.dicom.headers import DicomHeader, NoImageError

MAX_NAMED = 6


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
    archive: UnpackedArchive | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.files:
            object.__setattr__(self, "files", self.paths)

    def move_to(self, archive: UnpackedArchive) -> "ImageSource":
        """Return the source of unpacked files under their paths in the archive."""
        paths = tuple(archive.get_inner_path(path) for path in self.paths)
        return replace(self, paths=paths, files=self.files, archive=archive)


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
        Names of the segmentations of 3D Slicer in the folders.
    archives
        Names of the zip archives in the folders, which are opened only if they are named.
    """

    sources: tuple[ImageSource, ...]
    skipped: tuple[NoImageError, ...] = ()
    segmentations: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()

    @property
    def asks_which(self) -> bool:
        """Whether a person should choose: several DICOM series of one study, or several parts of one file or series."""
        series = {source.series for source in self.sources if source.series and len(source.headers) > 0}
        return len(series) > 1 or any(source.whole for source in self.sources)

    @property
    def note(self) -> str:
        """Sentences that name the skipped files; empty if there are none."""
        left_out = ", ".join(self.segmentations[:MAX_NAMED])
        about = f"Segmentations are no images and were left out: {left_out}." if left_out else ""
        closed = ", ".join(self.archives[:MAX_NAMED])
        packed = f"Archives in the folder were not opened; open them one by one: {closed}." if closed else ""
        return " ".join(filter(None, (self._note_skipped(), about, packed)))

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
