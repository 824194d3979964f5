"""Frames of a video that are to be corrected: every n-th, or those that look different; and which are cases already."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_medseg.core.containers.addresses import format_source
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.records import Case
from napari_medseg.core.video.appearance import choose_different, choose_samples, measure_appearance
from napari_medseg.core.video.content_hash import SHORT_DIGITS
from napari_medseg.core.video.frame_index import FrameIndex
from napari_medseg.core.video.frame_paths import PART_OF_EVERY_PATH, parse_frame_path
from napari_medseg.core.video.video_reader import VideoReader
from napari_medseg.workflow import cases
from napari_medseg.workflow.cases import CaseState
from napari_medseg.workflow.video.moved_videos import find_frames_of, find_proven_frames_of, get_frames
from napari_medseg.workflow.workspace import Workspace

MAX_CHOSEN = 2000
MANY = 100
"""More cases are read with all of the project at once, as each question to the database takes time."""


@dataclass(frozen=True)
class ChosenFrame:
    """A case that is a frame of a video, or one frame of a series.

    Parameters
    ----------
    number
        Of the frame.
    case
        Its case; that of a series for each of its frames.
    state
        State of the case.
    place
        Which slice of the case it is; `None` for a single frame.
    """

    number: int
    case: Case
    state: CaseState
    place: int | None = None


@dataclass(frozen=True)
class FrameChoice:
    """Frames that were chosen by what they show; `text` says how many were looked at, and why not more were chosen."""

    numbers: tuple[int, ...]
    text: str


def choose_every(index: FrameIndex, first: int, last: int, step: int) -> list[int]:
    """Return every n-th frame of a range.

    Raises
    ------
    MedSegError
        If there are none, or more than a person can want as cases.
    """
    if step < 1 or not 0 <= first <= last < index.n_frames:
        raise MedSegError(f"give a step of 1 or more, and a range within frames 0 to {index.n_frames - 1:,}.")
    numbers = range(first, last + 1, step)
    if len(numbers) > MAX_CHOSEN:
        raise MedSegError(
            f"that would be {len(numbers):,} cases; at most {MAX_CHOSEN:,} are made at once. Give a larger step."
        )
    return list(numbers)


def choose_by_appearance(
    reader: VideoReader, first: int, last: int, n_wanted: int, beside: Sequence[int] = ()
) -> Generator[float | FrameChoice]:
    """Choose the frames of a range that look most different, also from those in `beside`; see `core.video.appearance`.

    It may run in a worker thread: it yields the share that is done, and last the choice.

    Raises
    ------
    MedSegError
        If the range is empty, or no frame is wanted.
    """
    if n_wanted < 1 or not 0 <= first <= last < reader.index.n_frames:
        raise MedSegError(
            f"give 1 frame or more, and a range within frames 0 to {reader.index.n_frames - 1:,} whose end is not "
            "before its beginning."
        )
    numbers = choose_samples(reader.index, first, last, n_wanted)
    near = [number for number in beside if first <= number <= last]
    seen = yield from measure_appearance(reader, sorted({*numbers.tolist(), *near}))
    chosen = choose_different(seen, n_wanted, near)
    text = f"{len(chosen)} of {len(numbers):,} sampled frames chosen"
    if len(chosen) < n_wanted:
        text += "; the others look like these"
    yield FrameChoice(tuple(chosen), text)


def list_chosen_frames(
    ws: Workspace, video: Path | VideoReader, listed: Sequence[Case] | None = None
) -> list[ChosenFrame]:
    """Return the listed cases of the project that are frames of a video, by frame number; see `find_frames_of`.

    `listed` is what `list_frame_cases` has returned, if it is known already.
    """
    listed = list_frame_cases(ws) if listed is None else listed
    shown = find_frames_of(listed, video, ws.project.folder)
    found = [frame for case in listed if case.id in shown for frame in list_frames_of(ws, case)]
    return sorted(found, key=lambda frame: frame.number)


def list_frame_cases(ws: Workspace) -> list[Case]:
    """Return the listed cases of the project that are frames of a video, of whichever; no other case is read."""
    removed = ws.project.read_removed_case_ids()
    ids = [case_id for case_id in ws.project.identities.find_sources(PART_OF_EVERY_PATH) if case_id not in removed]
    if len(ids) > MANY:
        wanted = frozenset(ids)
        found = [case for case in ws.project.read_records(Case) if case.id in wanted]
    else:
        found = [ws.project.get_record(Case, case_id) for case_id in ids]
    return [case for case in found if get_frames(case) is not None]


def record_content(ws: Workspace, listed: Sequence[Case], video: VideoReader) -> None:
    """Write the content of an open video into its cases that do not say it, as those of earlier versions.

    From then on the video is known by its content, whatever its place and name. So nothing is written into cases of
    which only black pictures are equal: they may be of another patient's video.
    """
    silent = [case for case in listed if (frames := get_frames(case)) is not None and not frames.content]
    place, content = video.path.absolute(), video.index.content[:SHORT_DIGITS]
    sources = {
        case_id: (format_source(replace(frames, video=place, content=content).path),)
        for case_id, frames in find_proven_frames_of(silent, video, ws.project.folder).items()
    }
    ws.project.identities.move_sources(sources)


def list_project_videos(ws: Workspace) -> list[Path]:
    """Return the videos of which the project has frames and whose files are there, by name; no other case is read."""
    removed = ws.project.read_removed_case_ids()
    found = ws.project.identities.find_sources(PART_OF_EVERY_PATH)
    paths = {Path(use_slashes(sources[0])) for case, sources in found.items() if case not in removed and sources}
    videos = {frames.video for path in paths if (frames := parse_frame_path(path)) is not None}
    return sorted((video for video in videos if video.is_file()), key=lambda video: (video.name, video))


def list_frames_of(ws: Workspace, case: Case) -> list[ChosenFrame]:
    """Return the frames of one case; none if it is no frame of a video."""
    frames = get_frames(case)
    if frames is None:
        return []
    state = cases.get_case_row(ws, case).state
    return [
        ChosenFrame(number, case, state, place if frames.is_series else None)
        for place, number in enumerate(frames.numbers)
    ]
