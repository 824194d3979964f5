"""Groups: the patient, slide or video that an image shows. One rule for projects, folders and recipes.

A split never cuts through a group, so a group must not depend on anything but the image itself. `find_group` looks at
the name of one file (and of its folders) and never at its neighbours: the answer is the same for the first image of a
patient and for the last. In doubt it puts images together: too large a group costs data, a patient on both sides makes
a score untrue. A person can state a better rule as a `GroupPattern`.
"""

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from napari_medseg.core.errors import MedSegError

MAX_FOLDERS_UP = 3
"""An image that is named only by a number belongs to a folder at most so many levels above it."""

_ID_WORDS = (
    "patient|pat|pt|person|subject|subj|sub|case|donor|volunteer|participant|proband|animal|mouse|rat|pig|dog|p",
    "specimen|slide|wsi|biopsy",
    "video|vid|movie|clip|operation|surgery|op",
)
_ID_FORMS = tuple(
    re.compile(rf"(?<![^\W_])(?:{words})[ _.\-]?(?=[A-Z]?[0-9])[A-Z0-9]*(?![^\W_])", re.IGNORECASE)
    for words in _ID_WORDS
)
_TCGA_PATIENT = re.compile(r"(?<![^\W_])TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?![^\W_])", re.IGNORECASE)
_BIDS_SUBJECT = re.compile(r"(?<![^\W_])sub-[A-Z0-9]+(?![^\W_])", re.IGNORECASE)
_TOKEN = re.compile(r"[^\s_.()\[\]#,-]+")

# Words that say what an image shows or how it was made, but not of whom.
_WORDS = """
im img imgs image images pic pics picture pictures photo photos dsc dcim snap screenshot capture fig figure
figures frame frames slice slices slc plane planes z scan scans page pages stack volume volumes vol file files
sample samples dicom dcm png jpg jpeg tif tiff nii nifti raw original orig copy data dataset datasets train
training test testing val valid validation input inputs export exports output ct mr mri cr dx us xr xray pet he
rgb grey gray axial ax coronal cor sagittal sag left right l r od os pre post before after t1 t2 flair dwi adc
t1w t2w series study session ses run acq visit mask masks label labels desktop downloads documents tmp temp home
users
"""
_TILE_WORDS = "tile tiles patch patches crop crops roi"
_SLIDES = "svs|ndpi|mrxs|scn|bif|svslide|vms|vmu|zarr"
_WORDS_OF_TILES = frozenset(_TILE_WORDS.split())
_WORDS_OF_NO_ONE = frozenset(_WORDS.split()) | _WORDS_OF_TILES
_POSITION = re.compile(r"[a-z]\d+", re.IGNORECASE)
_SLICE_LETTERS = frozenset("zxyift")


def find_group(path: Path, *, is_volume: bool) -> str:
    """Find the group of an image from its file name; DICOM files state their patient, so they are not asked here.

    1. A name that states a patient, slide or video: ``patient2_seq5_0001_l`` is ``patient2``, ``sub-07_T1w`` is
       ``sub-07``, ``TCGA-55-1594-01Z-00-DX1_001`` is ``TCGA-55-1594``.
    2. Any other volume is a group of its own: ``case_0007`` and ``volume-12``. If its name is only a word such as
       ``ct``, it belongs to its folder.
    3. A single picture is named by its position after the group: ``cc003_001`` is ``cc003``. A picture that is named by
       its position alone (``0001``, ``slice_12``, ``IMG 4``) belongs to its folder: such a folder is most often one
       series, and the pictures of one series must not be separated.
    4. Any other picture is a group of its own.

    Parameters
    ----------
    path
        The file; it does not have to exist. Folders such as ``images`` or ``png`` name no one:
        then the next one above counts.
    is_volume
        Whether the file has several planes.
    """
    name = normalise(get_stem(path))
    if stated := _find_stated_group(name):
        return stated
    words = _TOKEN.findall(name)
    if is_volume:
        has_name = any(_is_number(word) or not _is_of_no_one(word) for word in words)
        return name if has_name else _find_named_folder(path) or name
    kept = _drop_position(words)
    if not kept:
        return _find_named_folder(path) or next(_list_folders_above(path), name)
    if len(kept) == len(words):
        return name
    return name[: _find_end(name, len(kept))]


def get_stem(path: Path) -> str:
    """Return the file name without its suffix; ``.nii.gz`` and ``.ome.tif`` count as one."""
    return re.sub(
        rf"(\.nii\.gz|\.ome\.(tiff?|zarr)|\.(nii|dcm|dicom|ima|png|jpe?g|tiff?|btf|tf8|{_SLIDES}))$",
        "",
        path.name,
        flags=re.I,
    )


def normalise(name: str) -> str:
    """Return a name in composed Unicode: macOS writes ``ü`` as two characters, other systems as one."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True)
class GroupPattern:
    """A rule that a person types: where the group stands in the name of a file.

    Parameters
    ----------
    text
        Either a name with the placeholder ``{patient}`` (or ``{slide}``, ``{video}``, ``{group}``), where ``*`` is any
        text, ``?`` any character and ``#`` a number: ``{patient}_*``. With ``/`` the names of folders count:
        ``{patient}/*``. Or a regular expression, whose group ``patient``, first group or whole match is the group.
    """

    text: str
    _expression: re.Pattern[str]
    _n_folders: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a pattern.

        Raises
        ------
        MedSegError
            If it is neither a name with one placeholder nor a regular expression.
        """
        text = normalise(text.strip())
        places = list(_PLACEHOLDER.finditer(text))
        if len(places) > 1:
            raise MedSegError(f"the pattern {text!r} has {len(places)} placeholders; use one, such as {_EXAMPLE}.")
        try:
            expression = re.compile(_translate(text) if places else text)
        except re.error as error:
            raise MedSegError(
                f"{text!r} is not a pattern for groups ({error}). Write the name of a file with {{patient}}, "
                f"such as {_EXAMPLE}, or a regular expression such as ^(p[0-9]+)_."
            ) from error
        return cls(text, expression, text.count("/"))

    def find_group(self, path: Path) -> str:
        """Return the group of a file; empty if the pattern does not match its name without suffix."""
        folders = path.absolute().parts[:-1]
        name = "/".join([*folders[len(folders) - self._n_folders :], get_stem(path)])
        found = self._expression.search(normalise(name))
        if found is None:
            return ""
        number_of = self._expression.groupindex
        chosen = next((word for word in _PLACEHOLDER_WORDS if word in number_of), None)
        return (found.group(chosen or (1 if self._expression.groups else 0)) or "").strip()


def count_groups(groups: Iterable[str]) -> list[tuple[str, int]]:
    """Return each group with its number of images, the largest first, then by name."""
    return sorted(Counter(groups).items(), key=lambda counted: (-counted[1], counted[0]))


def format_groups(groups: Iterable[str], at_most: int = 8) -> str:
    """Return the groups of images as text, such as ``3 patients: A (31), B (28), C (2)``."""
    counted = count_groups(groups)
    noun = "patient" if len(counted) == 1 else "patients"
    names = ", ".join(f"{group} ({count})" for group, count in counted[:at_most])
    more = f" and {len(counted) - at_most} more" if len(counted) > at_most else ""
    return f"{len(counted)} {noun}{': ' if counted else ''}{names}{more}"


_EXAMPLE = "'{patient}_*'"
_PLACEHOLDER_WORDS = ("patient", "group", "slide", "video", "case", "subject")
_PLACEHOLDER = re.compile(rf"\{{(?:{'|'.join(_PLACEHOLDER_WORDS)})\}}", re.IGNORECASE)
_WILDCARDS = {"*": ".*", "?": "[^/]", "#": "[0-9]+"}


def _translate(text: str) -> str:
    """Return the regular expression of a name with a placeholder; the group is the shortest text that fits."""
    parts = re.split(rf"({_PLACEHOLDER.pattern}|[*?#])", text, flags=re.IGNORECASE)
    pieces = ("([^/]+?)" if _PLACEHOLDER.fullmatch(part) else _WILDCARDS.get(part) or re.escape(part) for part in parts)
    return f"^{''.join(pieces)}$"


def _find_stated_group(name: str) -> str:
    """Return the patient, slide or video that a name states, with the name of its data set; empty if it states none."""
    if found := _TCGA_PATIENT.search(name) or _BIDS_SUBJECT.search(name):
        return found.group()
    for form in _ID_FORMS:
        if found := form.search(name):
            before = _TOKEN.findall(name[: found.start()])
            return "_".join(
                [*(word for word in before if not (_is_number(word) or _is_of_no_one(word))), found.group()]
            )
    return ""


def _drop_position(words: list[str]) -> list[str]:
    """Return the words of a picture's name without those at the end that say which picture of the group it is."""
    kept = list(words)
    numbers_left = _count_numbers_to_drop(words)
    while kept:
        word = kept[-1]
        if _is_number(word):
            if not numbers_left:
                break
            numbers_left -= 1
        elif _is_slice(word) or (len(kept) > 1 and _POSITION.fullmatch(word)):
            numbers_left = 0
        elif not _is_of_no_one(word):
            break
        kept.pop()
    return kept


def _count_numbers_to_drop(words: list[str]) -> int:
    """One number is the position of a picture; a tile has two or more, after the word that says so."""
    numbers = list(itertools.takewhile(_is_number, reversed(words)))
    before = words[: len(words) - len(numbers)]
    return len(numbers) if before and before[-1].casefold() in _WORDS_OF_TILES else 1


def _is_number(word: str) -> bool:
    return word.isdecimal()


def _is_of_no_one(word: str) -> bool:
    return word.casefold() in _WORDS_OF_NO_ONE


def _is_slice(word: str) -> bool:
    """Whether a word such as ``slice12``, ``IMG0034`` or ``z007`` is only a position."""
    letters = word.rstrip("0123456789").casefold()
    return letters != word.casefold() and (letters in _WORDS_OF_NO_ONE or letters in _SLICE_LETTERS)


def _find_end(name: str, n_words: int) -> int:
    """Return where the last of the first words of a name ends."""
    return [found.end() for found in _TOKEN.finditer(name)][n_words - 1]


def _find_named_folder(path: Path) -> str:
    """Return the nearest folder above a file that names someone; empty if none does."""
    named = (folder for folder in _list_folders_above(path) if any(map(_is_of_someone, _list_names(folder))))
    return next(named, "")


def _list_names(folder: str) -> list[str]:
    """Return the words of a folder's name; a number after a word that names no one, as in ``series 2``, is left out."""
    words = _TOKEN.findall(folder)
    before = ["", *words]
    return [word for word, last in zip(words, before, strict=False) if not (_is_number(word) and _is_of_no_one(last))]


def _is_of_someone(word: str) -> bool:
    return not _is_of_no_one(word) and not _is_slice(word)


def _list_folders_above(path: Path) -> Iterator[str]:
    home = Path.home()  # the name of an account is not a patient
    for folder in list(path.absolute().parents)[:MAX_FOLDERS_UP]:
        if folder == home or not folder.name:
            return
        yield normalise(folder.name)
