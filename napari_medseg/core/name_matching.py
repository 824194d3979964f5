"""Compare names of files, patients and labels as text, not as code points.

`Müller` can be written with one character for `ü`, or with `u` and a combining mark: macOS stores file names in the
second form, most other programs write the first one. Both are the same text.

Two decisions, made here for the whole program. Names are equal if their composed forms (Unicode NFC) are equal: NFC
only joins characters that look and mean the same, so it never merges `x²` and `x2`. Upper and lower case differ,
because `P1` and `p1` may be two patients; where a person's spelling has to be found again (a mask beside its image, a
category in an annotation), `fold_name` is compared if no name is equal.
"""

import re
import unicodedata
from collections.abc import Iterable

from napari_medseg.core.errors import MedSegError


def unify_name(name: str) -> str:
    """Return a name in composed form (NFC): equal text gives equal strings."""
    return unicodedata.normalize("NFC", name)


def fold_name(name: str) -> str:
    """Return a name for a comparison that ignores case; `ß` equals `ss`."""
    return unify_name(unify_name(name).casefold())


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Return a regular expression for unified names, as a person typed it.

    Raises
    ------
    MedSegError
        If it is none, such as a wildcard.
    """
    try:
        return re.compile(unify_name(pattern))
    except re.error as error:
        raise MedSegError(
            f"{pattern!r} is no regular expression ({error}). Write .* where a wildcard has *, and \\. for a dot: "
            "patient_1.* matches all names that begin with patient_1."
        ) from error


def find_name(name: str, names: Iterable[str]) -> str | None:
    """Return which of `names` is this name: the equal one, or the only one that differs in case; else `None`."""
    known = list(names)
    for key in (unify_name, fold_name):
        same = [each for each in known if key(each) == key(name)]
        if len(same) == 1:
            return same[0]
    return None
