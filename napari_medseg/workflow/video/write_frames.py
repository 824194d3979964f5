"""Writes the accepted frames of videos: pictures, masks, and one COCO file that says which video and time each is of.

The file has what YouTube-VIS and TAO have: ``videos``, and for each image ``video_id``, ``frame_id`` (its place among
the frames of the video that are written, from 0) and ``frame_index`` (its number in the video). Names are numbers of
videos: no file name of a person's is written.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_medseg.core import formats
from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.core.errors import MedSegError, name_problem
from napari_medseg.core.file_names import make_file_stem
from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.image import Image
from napari_medseg.core.label_files.coco_writer import list_annotations, list_categories
from napari_medseg.core.records import Case, Correction
from napari_medseg.core.tasks.bundled_tasks import Task
from napari_medseg.core.video.frame_index import read_index
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.workflow.output.export_plan import ExportItem
from napari_medseg.workflow.video.moved_videos import find_frames_of, get_frames, name_videos

ANNOTATIONS = "annotations.json"
Row = tuple[Case, Correction, str]
Reader = Callable[[Row], ExportItem]


@dataclass(frozen=True, eq=False)
class WrittenFrames:
    """Files that were written, how many frames they hold, and why cases were left out."""

    files: tuple[Path, ...]
    n_frames: int
    refused: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Frame:
    """One frame of an accepted case: its number, picture (height, width, 3), labels, and what was reviewed."""

    number: int
    case: Case
    picture: NDArray[np.uint8]
    labels: NDArray[Any]
    reviewed: NDArray[np.bool_] | None


def choose_video_rows(
    rows: Sequence[Row], video: Path | VideoReader | None = None, project: Path | None = None
) -> list[Row]:
    """Return the rows whose cases are frames of a video, or of any video; parameters are those of `find_frames_of`.

    Raises
    ------
    MedSegError
        If there are none.
    """
    chosen = [row for row in rows if get_frames(row[0]) is not None]
    if video is not None:
        shown = find_frames_of((row[0] for row in chosen), video, project)
        chosen = [row for row in chosen if row[0].id in shown]
    if not chosen:
        raise MedSegError("no frame of a video is accepted yet. Accept a frame first, then export.")
    return chosen


def write_frames(
    rows: Sequence[Row],
    read: Reader,
    folder: Path,
    report: Callable[[int, int], None] = lambda _done, _of: None,
    project: Path | None = None,
) -> WrittenFrames:
    """Write accepted frames with their masks and ``annotations.json``.

    Parameters
    ----------
    rows
        Of `choose_video_rows`, all of one task.
    read
        Reads one of them; it may run in a worker thread.
    folder
        Created if it does not exist; files of an earlier call are replaced.
    report
        Called with how many cases are written, and of how many; it may raise to stop.
    project
        Folder of the project, whose copies tell one video from another, see `find_frames_of`.

    Raises
    ------
    MedSegError
        If nothing can be written.
    """
    videos: dict[tuple[str, str], list[Row]] = {}
    names = name_videos((row[0] for row in rows), project)
    for row in sorted(rows, key=lambda row: (row[0].group, get_frames(row[0]).path)):  # type: ignore[union-attr]
        videos.setdefault((row[0].group, names[row[0].id]), []).append(row)
    content = _Content(folder)
    n_done = 0
    for video_id, ((group, _video), those) in enumerate(videos.items(), start=1):
        name = make_file_stem(f"{get_group_label(group)}-{video_id}".replace(" ", "-"))
        content.add_video(video_id, name, those[0][0])
        for row in sorted(those, key=lambda row: get_frames(row[0]).numbers):  # type: ignore[union-attr]
            try:
                item = read(row)
                for frame in _list_frames(item):
                    content.add_frame(frame, item.task, item.image)
            except MedSegError as error:
                content.refused.append(name_problem(row[0].name, str(error)))
            n_done += 1
            report(n_done, len(rows))
    return content.finish()


def _list_frames(item: ExportItem) -> Iterator[_Frame]:
    frames = get_frames(item.case)
    assert frames is not None
    if not frames.is_series:
        yield _Frame(frames.numbers[0], item.case, item.image.pixels, item.labels, item.reviewed_mask)
        return
    for place, number in enumerate(frames.numbers):
        reviewed = None if item.reviewed_mask is None else item.reviewed_mask[place]
        yield _Frame(number, item.case, item.image.pixels[place], item.labels[place], reviewed)


class _Content:
    """What is written to a folder, and what the annotations say of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._videos: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._task: Task | None = None
        self._files: list[Path] = []
        self._known: set[int] = set()
        self.refused: list[str] = []

    def add_video(self, video_id: int, name: str, case: Case) -> None:
        """Begin a video; its rate and length are written if its file is there."""
        about: dict[str, Any] = {"id": video_id, "name": name, "held_out": case.held_out}
        frames = get_frames(case)
        assert frames is not None
        with suppress(MedSegError):  # moved; the frames are in the project
            index = read_index(frames.video)
            if frames.belongs_to(index.content):
                length = {"length": index.n_frames, "duration_s": round(index.duration_s, 3)}
                about |= {"fps": round(index.rate, 3)} | length
        self._videos.append(about)
        self._known = set()

    def add_frame(self, frame: _Frame, task: Task, image: Image) -> None:
        """Write a frame and its mask. A frame that is in the video already, as of a series, is left out."""
        if frame.number in self._known:
            self.refused.append(f"{frame.case.name}: frame {frame.number} is written already, from another case.")
            return
        video = self._videos[-1]
        stem = f"{video['name']}_frame{frame.number:06d}"
        plane = Image(frame.picture, "YXC", units="rgb", name=image.name)
        suffix = ".tif" if task.instances else ".png"
        self._write(f"images/{stem}.png", lambda path: formats.write_image(path, plane))
        self._write(f"masks/{stem}{suffix}", lambda path: formats.write_labels(path, frame.labels, plane))
        if frame.reviewed is not None:
            seen = frame.reviewed.astype(np.uint8)
            self._write(f"reviewed/{stem}.png", lambda path: formats.write_labels(path, seen, plane))
        number = len(self._images) + 1
        height, width = frame.labels.shape
        self._images.append(
            {
                "id": number,
                "file_name": f"{stem}.png",
                "height": height,
                "width": width,
                "video_id": video["id"],
                "frame_id": len(self._known),
                "frame_index": frame.number,
            }
        )
        found = list_annotations(frame.labels, task, image_id=number, first_id=len(self._annotations) + 1)
        self._annotations += [one | {"video_id": video["id"]} for one in found]
        self._known.add(frame.number)
        video |= {"height": height, "width": width}
        self._task = task

    def finish(self) -> WrittenFrames:
        """Write the annotations."""
        if self._task is None:
            raise MedSegError(f"no frame could be written. {self.refused[0] if self.refused else ''}".strip())
        content = {
            "info": {"description": f"{self._task.title}, frames of videos corrected with napari-medseg"},
            "videos": self._videos,
            "images": self._images,
            "categories": list_categories(self._task),
            "annotations": self._annotations,
        }
        self._write(ANNOTATIONS, lambda path: atomic_write_text(path, json.dumps(content, ensure_ascii=False) + "\n"))
        return WrittenFrames(tuple(self._files), len(self._images), tuple(self.refused))

    def _write(self, name: str, write: Callable[[Path], object]) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path)
        self._files.append(path)
