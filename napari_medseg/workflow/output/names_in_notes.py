"""Clear names in notes and reasons for rejection: of patients, readers, images and files, and the parts of names.

Free text is written in haste: ``kowalski``, ``KOWALSKI`` and ``Kowalski's`` are one name. A word too many that is
replaced costs little, a name that stays costs a patient's privacy, so a part of a name is replaced also where it may be
a word. Only titles, and in names of groups words such as ``patient`` or ``left``, are no parts of names.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from napari_medseg.core.grouping.keyed_groups import get_group_label
from napari_medseg.core.name_matching import fold_name, unify_name
from napari_medseg.core.records import Case
from napari_medseg.workflow.output.name_replacement import NewNames
from napari_medseg.workflow.workspace import Workspace

MIN_LETTERS = 2
"""A single letter is an initial, and a word in most languages."""
MIN_LETTERS_IN_ANY_CASE = 4
"""A shorter part is replaced only where it is written like a name: ``Ben`` and ``BEN``, not ``an`` or ``max``."""
MIN_GROUPS_THAT_SHARE = 4
"""A word in most of so many groups is the name of a data set or a hospital, not of a person."""

TITLES = frozenset(["dr", "prof", "med", "dipl", "phd", "md", "mr", "mrs", "ms", "miss", "herr", "frau", "und", "and"])
"""Folded words in names of persons that name nobody."""
PARTICLES = frozenset(["von", "van", "der", "den", "del", "the"])
GROUP_WORDS = frozenset(
    """patient patients case cases slide slides video videos image images series study scan subject group left right
    lung lungs chest thorax abdomen colon liver kidney brain polyp nodule nodules nuclei cell cells tissue section
    control healthy normal train training test validation hold unknown anonymous anonymized anonymised male female
    ct mr mri pet us""".split()  # noqa: SIM905 - a list of words is read as a text
)
"""Folded words that say what a group is, not who."""
GENERAL_ACCOUNTS = frozenset(["user", "root", "admin", "reader", "unknown"])

_SPELT_OUT = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "ł": "l", "Ł": "L"}
)
_WORDS = re.compile(r"[\W_\d]+")


@dataclass(frozen=True)
class NoteNames:
    """What stands for the clear names of a project in a note.

    Parameters
    ----------
    whole
        Names of files, images, groups and persons; those that may be numbers or words are left alone.
    parts
        What stands for each part of a name, by its composed form as it was stated.
    """

    whole: NewNames
    parts: Mapping[str, str]

    def replace_in(self, text: str) -> str:
        """Return a text without the names."""
        text = self.whole.replace_words(unify_name(text))
        return self._pattern.sub(self._replace, text) if self.parts else text

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {fold_name(part): label for part, label in self.parts.items()}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Match labels first, so that nothing inside of them is replaced; then parts, the longest first."""
        labels = sorted({*self.whole.all.values(), *self.parts.values()}, key=len, reverse=True)
        forms = [re.escape(label) for label in labels if label]
        for part in sorted(self.parts, key=len, reverse=True):
            if len(part) >= MIN_LETTERS_IN_ANY_CASE:
                forms.append(f"(?i:{re.escape(part)}s?)")
            else:
                forms += [re.escape(form) for form in {part.title(), part.upper()}]
        return re.compile(rf"(?<![^\W_])(?:{'|'.join(forms)})(?![^\W_])")

    def _replace(self, found: re.Match[str]) -> str:
        folded = fold_name(found[0])
        return self._folded.get(folded) or self._folded.get(folded.removesuffix("s")) or found[0]


def collect_note_names(ws: Workspace) -> NoteNames:
    """Return all clear names of a project, with what stands for them. Call it in the main thread.

    The person who works now is known by name also before the first row of the project tells it.
    """
    identities = ws.project.identities
    groups = {unify_name(clear): get_group_label(keyed) for keyed, clear in identities.read_groups().items()}
    readers = {unify_name(clear): label for label, clear in identities.read_readers().items()}
    readers.setdefault(unify_name(ws.reader.name), ws.reader.label or "a reader")
    readers = {name: label for name, label in readers.items() if fold_name(name) not in GENERAL_ACCOUNTS}
    cases: dict[str, str] = {}
    for case in ws.project.read_records(Case):
        files = {case.file_name, *(Path(source).name for source in case.sources), *case.sources, case.series}
        cases |= {unify_name(name): case.name for name in (*files, *(Path(file).stem for file in files)) if name}
    whole = {form: label for name, label in groups.items() for form in (name.lower(), name.upper())} | groups
    return NoteNames(NewNames(cases, readers | whole), _split_names(readers) | _split_groups(groups))


def _split_groups(groups: Mapping[str, str]) -> dict[str, str]:
    """Return the parts of names of patients; what many groups share names none of them, unless it is a PatientName."""
    persons = {name: label for name, label in groups.items() if "^" in name or "," in name}
    parts = {name: {fold_name(part) for part in _list_parts(name)} for name in groups}
    counts = Counter(part for found in parts.values() for part in found)
    shared = {part for part, n in counts.items() if n >= MIN_GROUPS_THAT_SHARE and 2 * n > len(groups)}
    return _split_names(groups, shared | GROUP_WORDS) | _split_names(persons)


def _split_names(names: Mapping[str, str], without: Collection[str] = ()) -> dict[str, str]:
    """Return what stands for each part, also as it is written without marks: ``Müller``, ``Mueller``, ``Muller``."""
    found: dict[str, str] = {}
    for name, label in names.items():
        for part in _list_parts(name):
            if fold_name(part) not in without:
                bare = "".join(one for one in unicodedata.normalize("NFKD", part) if not unicodedata.combining(one))
                found |= dict.fromkeys((part, part.translate(_SPELT_OUT), bare.translate(_SPELT_OUT)), label)
    return found


def _list_parts(name: str) -> list[str]:
    """Return the parts of a name such as ``Mustermann^Erika``, ``Berg, Otto``, ``Otto Berg`` or ``otto_berg``."""
    words = [word for word in _WORDS.split(name) if len(word) >= MIN_LETTERS]
    return [word for word in words if fold_name(word) not in TITLES | PARTICLES]
