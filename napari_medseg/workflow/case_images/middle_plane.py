"""The plane of a case that a thumbnail shows, of which no more is read than needed: one slice of a series, one frame.

It is not compared with the hash of the case, which would take the whole image. So it is only to be looked at, and not
to be kept: another file may lie at its place. Another series, or a frame of another size, is noticed.
"""

from pathlib import Path

from napari_medseg.core import formats
from napari_medseg.core.file_names import use_slashes
from napari_medseg.core.image import Image
from napari_medseg.core.records import Case
from napari_medseg.core.video.frame_glimpse import glimpse_frame
from napari_medseg.core.video.frame_paths import parse_frame_path
from napari_medseg.workflow.case_images.look_up import has_image_copy


def read_middle_plane(folder: Path, case: Case) -> Image | None:
    """Return the middle slice of a series, or the middle frame; `None` if only the whole image can tell.

    Parameters
    ----------
    folder
        Project folder. An image of which it has a copy is read from there, by `cases.load_image`.
    case
        The case. Its files are read; it may run in a thread.

    Raises
    ------
    MedSegError
        If the file of that plane is damaged.
    """
    sources = [Path(use_slashes(source)) for source in case.sources]
    if len(sources) > 1 and all(source.is_file() for source in sources):
        plane = formats.read_series([sources[len(sources) // 2]])
        return plane if plane.series == case.series else None
    if len(sources) != 1 or has_image_copy(folder, case):
        return None
    frames = parse_frame_path(sources[0])
    shown = None if frames is None else glimpse_frame(frames.video, frames.numbers[len(frames.numbers) // 2])
    return shown if shown is not None and shown.pixels.shape == tuple(case.shape[-3:]) else None
