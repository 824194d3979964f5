"""Find the images in a file or folder. One DICOM series is one image; each PNG, JPEG, TIFF and NIfTI file is one."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from napari_medseg.core.containers.image_source import MAX_NAMED, FoundImages, ImageSource
from napari_medseg.core.containers.part_paths import find_inner_path
from napari_medseg.core.containers.parts import find_volume_reader, list_arrays, list_parts, make_series_sources
from napari_medseg.core.containers.several_volumes import VOLUME
from napari_medseg.core.containers.zip_archive import is_zip, unpack
from napari_medseg.core.decoded_size.header_length import has_magic_word
from napari_medseg.core.decoded_size.sized_file import SizedFile
from napari_medseg.core.dicom.bare_files import is_directory_file, list_directory_files, looks_like_dataset
from napari_medseg.core.dicom.headers import DicomHeader, NoImageError, read_header
from napari_medseg.core.dicom.series import group_by_series
from napari_medseg.core.errors import MedSegError
from napari_medseg.core.file_names import PROJECT_DATABASE, find_written_labels, is_project_folder
from napari_medseg.core.formats.decode_errors import translate_decode_errors

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima", ".seg.dcm", ".rtstruct.dcm")
JPEG_SUFFIXES = (".jpg", ".jpeg")
# Pictures that are read like PNG and JPEG, but not written.
OTHER_PICTURE_SUFFIXES = (".bmp", ".webp", ".jp2", ".j2k")
PNG_JPEG_SUFFIXES = (".png", *JPEG_SUFFIXES, *OTHER_PICTURE_SUFFIXES)
ARRAY_SUFFIXES = (".npy", ".npz")
TIFF_SUFFIXES = (".tif", ".tiff")
# TIFF under other names: Aperio slides and BigTIFF. They are read, but not written.
TIFF_VARIANT_SUFFIXES = (".svs", ".btf", ".tf8")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NIFTI_PAIR_SUFFIXES = (".hdr", ".img")
# MetaImage and NRRD, see core.volumes.
METAIMAGE_SUFFIXES = (".mha", ".mhd")
NRRD_SUFFIXES = (".nrrd", ".nhdr", ".seg.nrrd")
VOLUME_SUFFIXES = (*METAIMAGE_SUFFIXES, *NRRD_SUFFIXES)
_DOUBLE_SUFFIXES = (".nii.gz", ".seg.nrrd", ".seg.dcm", ".rtstruct.dcm")
NON_DICOM_SUFFIXES = frozenset(
    {
        *PNG_JPEG_SUFFIXES,
        *TIFF_SUFFIXES,
        *TIFF_VARIANT_SUFFIXES,
        *NIFTI_SUFFIXES,
        *NIFTI_PAIR_SUFFIXES,
        *VOLUME_SUFFIXES,
        *ARRAY_SUFFIXES,
    }
)
"""Of files that are never DICOM; a DICOM file may have any other suffix, or none."""
_MAY_HOLD_VOLUMES = (
    *(NIFTI_SUFFIXES + NIFTI_PAIR_SUFFIXES + TIFF_SUFFIXES + TIFF_VARIANT_SUFFIXES),
    *(suffix for suffix in VOLUME_SUFFIXES if suffix != ".seg.nrrd"),
)
# Data sets often keep labels in these folders beside the images, nnU-Net and TotalSegmentator with names of their own;
# they are not images to segment.
_LABEL_FOLDERS = {"labels", "masks", "labelstr", "labelsts", "segmentations"}
# Folders in which other programs keep one image as many chunks; their files are not images of ours.
_PROJECT_SUFFIXES = (".sqlite", ".json", ".jsonl", ".txt", ".sqlite-wal", ".sqlite-shm")
_PROJECT_LOCK = "lock"
"""What lies in the folder of a project itself."""
_CHUNK_STORE_SUFFIXES = (".zarr", ".n5")
_CHUNK_STORE_FILES = {".zarray", ".zgroup", "zarr.json"}
MAX_FILES = 50_000


def get_suffix(path: Path) -> str:
    """Suffix in lower case; ``.nii.gz``, ``.seg.nrrd`` and ``.seg.dcm`` count as one suffix."""
    name = path.name.lower()
    return next((double for double in _DOUBLE_SUFFIXES if name.endswith(double)), path.suffix.lower())


def find_images(path: Path | Sequence[Path]) -> list[ImageSource]:
    """List the images in a file or folder, or in several of them; see `search_images`."""
    return list(search_images(path).sources)


def search_images(path: Path | Sequence[Path]) -> FoundImages:
    """Find the images in a file or folder, or in several of them, and what was skipped in the folders.

    Labels that the program wrote beside images are no images, unless they are named themselves.

    DICOM files of one series are one image, in any order and from any folder. Subfolders are searched, except those
    of labels, hidden ones and chunk stores (Zarr, N5). A zip archive is searched like a folder. A
    file of several volumes or phases gives one source for each. A path that does not exist or cannot be listed is a
    source with a `problem`, so that the others are still read.
    """
    given = [path] if isinstance(path, Path) else list(path)
    archived: list[FoundImages] = []
    files: list[Path] = []
    problems: list[ImageSource] = []
    remarks: list[str] = []
    for each in given:
        try:
            if find_inner_path(each) is not None:
                problems.append(ImageSource(each.name, (each,)))  # read by its path
            elif is_zip(each):
                archived.append(_search_archive(each))
            else:
                files += _list_given(each, problems, remarks)
        except MedSegError as error:
            problems.append(ImageSource(each.name, (each,), problem=str(error)))
    # A file that the user named is always listed, so that opening it reports why it cannot be used.
    named = {each for each in given if os.path.isfile(each) and not is_directory_file(each) and not is_zip(each)}
    found = _sort_files(files, named, problems)
    closed = tuple(file.name for file in files if file not in named and is_zip(file))
    return FoundImages(
        (*found.sources, *(source for each in archived for source in each.sources)),
        (*found.skipped, *(skipped for each in archived for skipped in each.skipped)),
        (*found.segmentations, *(name for each in archived for name in each.segmentations)),
        (*closed, *(name for each in archived for name in each.archives)),
        (*remarks, *(remark for each in archived for remark in each.remarks)),
    )


def _list_given(path: Path, problems: list[ImageSource], remarks: list[str]) -> list[Path]:
    """Return the files of a path that a person named; what cannot be listed, or is missing, is added to the lists."""
    if os.path.isdir(path):
        listed, problem = _list_files(path)
        if problem:
            problems.append(ImageSource(path.name, (path,), problem=problem))
        for directory in filter(is_directory_file, listed):
            with contextlib.suppress(MedSegError):  # the files themselves are there, whatever it lists
                _note_missing(directory, remarks)
        return listed
    if not os.path.isfile(path):
        what = "is neither a file nor a folder" if os.path.exists(path) else "does not exist"
        raise MedSegError(f"{path} {what}. Check the name, or whether a drive is disconnected.")
    return _note_missing(path, remarks) if is_directory_file(path) else [path]


def _note_missing(directory: Path, remarks: list[str]) -> list[Path]:
    """Return the files that a DICOMDIR lists, and add a remark if some are missing."""
    listed = list_directory_files(directory)
    if listed.n_missing:
        total = len(listed.files) + listed.n_missing
        remarks.append(
            f"{directory.name} lists {total:,} files, and {listed.n_missing:,} of them are missing: series may lack "
            "slices. Copy the whole disc."
        )
    return listed.files


def _search_archive(path: Path) -> FoundImages:
    """Find the images in a zip archive; its files stay unpacked as long as the sources."""
    unpacked = unpack(path)
    found = search_images(unpacked.folder)
    if unpacked.videos:
        found = replace(found, remarks=(*found.remarks, _describe_packed_videos(path, unpacked.videos)))
    if not found.sources:
        raise MedSegError(f"{path.name} holds no image that is read here. {found.note or 'Choose another file.'}")
    return replace(found, sources=tuple(source.move_to(unpacked) for source in found.sources))


def _describe_packed_videos(path: Path, videos: Sequence[Path]) -> str:
    names = ", ".join(inner.name for inner in videos[:MAX_NAMED])
    more = f" and {len(videos) - MAX_NAMED} more" if len(videos) > MAX_NAMED else ""
    return (
        f"A video is not read from an archive, because its frames are looked up in the file again and again: {names}"
        f"{more}. Unpack {path.name}, and drop the folder, or use medseg video."
    )


def _sort_files(files: Sequence[Path], named: Collection[Path], problems: Sequence[ImageSource]) -> FoundImages:
    """Return the images of files: DICOM by series, each other file alone or by its parts."""
    series = group_dicom_series(
        (file for file in dict.fromkeys(files) if get_suffix(file) not in NON_DICOM_SUFFIXES), named
    )
    offered = {file for source in series.sources for file in source.files}
    pictures = [file for file in files if get_suffix(file) in NON_DICOM_SUFFIXES]
    written = find_written_labels(files)
    segments = [file for file in pictures if (get_suffix(file) == ".seg.nrrd" or file in written) and file not in named]
    pictures = [file for file in pictures if file not in segments]
    pictures = [file for file in pictures if get_suffix(file) != ".img" or not _has_header(file, pictures)]
    by_hand = [file for file in files if file in named and file not in offered and not _has_header(file, pictures)]
    single = [source for file in dict.fromkeys(pictures + by_hand) for source in _list_parts(file)]
    return FoundImages((*single, *series.sources, *problems), series.skipped, tuple(file.name for file in segments))


def _list_parts(path: Path) -> list[ImageSource]:
    """Return the volumes of a file, the arrays of a NumPy file, or the file itself."""
    if get_suffix(path) in ARRAY_SUFFIXES:
        from napari_medseg.core.volumes.numpy_arrays import read_array_headers

        return list_arrays(path, read_array_headers)
    if get_suffix(path) not in _MAY_HOLD_VOLUMES:
        return [ImageSource(path.name, (path,))]
    return list_parts(path, find_volume_reader(path).list_titles, VOLUME)


def _has_header(voxels: Path, files: Collection[Path]) -> bool:
    """Whether the header of a NIfTI pair is listed, so that its voxels are no second image."""
    return any(voxels.with_suffix(suffix) in files for suffix in (".hdr", ".HDR"))


def walk_files(folder: Path, on_error: Callable[[OSError], None] | None = None) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders that may be images, sorted by folder and name.

    Hidden files and folders, folders of labels, chunk stores, the folders that a project keeps, and what is no file
    (pipes, devices) are left out. A link
    to nothing is yielded, so that reading it reports the problem. `on_error` gets the error of a folder that cannot be
    listed.
    """
    for parent, folders, names in os.walk(folder, onerror=on_error):
        is_store = parent.lower().endswith(_CHUNK_STORE_SUFFIXES) or not _CHUNK_STORE_FILES.isdisjoint(names)
        if is_store:
            folders[:] = []
            continue
        if PROJECT_DATABASE in names:  # a person may have made it among the images
            folders[:] = [name for name in folders if not is_project_folder(name)]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name.lower() not in _LABEL_FOLDERS)
        for name in sorted(names):
            path = Path(parent, name)
            if not name.startswith(".") and (path.is_file() or path.is_symlink()):
                yield path


def is_project(folder: Path) -> bool:
    """Whether a folder is a project of this program."""
    return (folder / PROJECT_DATABASE).is_file()


def group_dicom_series(paths: Iterable[Path], named: Collection[Path] = ()) -> FoundImages:
    """Group DICOM files by series; other files are left out, and those without an image (reports, doses) are skipped.

    Files in `named` are never reported as skipped.
    """
    headers: list[DicomHeader] = []
    sources: list[ImageSource] = []
    skipped: list[NoImageError] = []
    for path in paths:
        try:
            header = _read_header_if_dicom(path)
        except NoImageError as error:
            skipped += [] if path in named else [error]
            continue
        except MedSegError:
            # List a damaged file too: opening it reports the error; skipping it would hide a missing slice.
            sources.append(ImageSource(path.name, (path,)))
            continue
        if header is not None:
            headers.append(header)
    sources += [source for group in group_by_series(headers) for source in make_series_sources(group)]
    return FoundImages(tuple(sorted(sources, key=lambda source: source.paths[0].as_posix())), tuple(skipped))


def _list_files(folder: Path) -> tuple[list[Path], str]:
    """Return the files of a folder, and a problem: a part that cannot be listed, or too many files."""
    errors: list[OSError] = []
    found = list(islice(walk_files(folder, errors.append), MAX_FILES + 1))
    if is_project(folder) and all(
        file.name == _PROJECT_LOCK or get_suffix(file) in _PROJECT_SUFFIXES for file in found
    ):
        return [], (
            f"the folder {folder} is a project of this program, not a folder of images. Open it with the menu of the "
            "project at the lower end of the dock, or give it to a command with --project."
        )
    if len(found) > MAX_FILES:
        return [], f"the folder {folder} holds more than {MAX_FILES:,} files. Choose a smaller folder."
    if errors:
        closed = ", ".join(str(error.filename) for error in errors[:3])
        return found, f"{closed} cannot be listed ({errors[0].strerror}). Ask for permission, or copy the folder."
    return found, ""


def _read_header_if_dicom(path: Path) -> DicomHeader | None:
    """Read the header of a file that is DICOM by its suffix or magic word; `None` for other files."""
    is_named_dicom = get_suffix(path) in DICOM_SUFFIXES
    with translate_decode_errors(path, "DICOM"):
        try:
            file = SizedFile(path)
        except OSError:
            if is_named_dicom:
                raise
            return None
        with file:
            if not is_named_dicom and not has_magic_word(file):
                is_bare = looks_like_dataset(file.read(8))
                file.seek(0)
                return read_header(path, file) if is_bare else None
            return read_header(path, file)
