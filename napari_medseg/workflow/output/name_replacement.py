"""Replace the names of cases and groups in the kinds of files of a run folder: JSON, tables, pages and prose.

A name that may as well be a number or a word, such as ``123`` or ``the``, is replaced where it is a whole value: a
cell, a field, the name in a caption. Prose that contains it is removed, because nobody can tell what it means there.
All functions can be applied again to their result, so that a clean-up can go on after an interruption.
"""

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from napari_medseg.core.errors import report_damage

REMOVED = "This text was removed, because it may have named a patient."
MIN_LENGTH_IN_TEXT = 4
"""A shorter name is replaced in prose only if it has letters and digits, as in ``P01``."""

_CASE_KEYS = frozenset({"name", "case", "worst_case"})
_PROSE_KEYS = frozenset({"text", "message"})
_PROSE_TAGS = ("<li", "<strong")
_NUMBER_TAGS = ('<td class="number"', "<dd", "<text")
_TAGS = re.compile(r"(<style\b.*?</style>|<[^>]*>)", re.DOTALL)
_ALT = re.compile(r'(?<=\balt=")[^"]*(?=")')
_CAPTION = re.compile(r"(.*)(: Dice [0-9.]+)", re.DOTALL)
_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True)
class NewNames:
    """The new names of cases and groups by their old ones; a case and its group may have had the same."""

    cases: Mapping[str, str]
    groups: Mapping[str, str]

    @cached_property
    def all(self) -> dict[str, str]:
        """Those of both; what both had becomes the name of the case."""
        return {old: new for old, new in {**self.groups, **self.cases}.items() if old}

    @cached_property
    def _distinctive(self) -> dict[str, str]:
        """Those that can be told from numbers and words in prose."""
        return {
            old: new
            for old, new in self.all.items()
            if len(old) >= MIN_LENGTH_IN_TEXT or (any(map(str.isalpha, old)) and any(map(str.isdigit, old)))
        }

    @cached_property
    def _in_prose(self) -> dict[str, str]:
        """The names to be found in prose; a new one is its own new name, so that nothing is replaced inside of it."""
        return {**{new: new for new in self.all.values()}, **self._distinctive}

    @cached_property
    def _words(self) -> re.Pattern[str]:
        return _match_words(self._in_prose)

    @cached_property
    def _doubtful(self) -> re.Pattern[str]:
        return _match_words(self.all.keys() - self._distinctive.keys())

    def replace_words(self, text: str) -> str:
        """Return a text with new names in place of all that are no number or word."""
        return self._words.sub(lambda found: self._in_prose[found[0]], text)

    def replace_in_prose(self, text: str) -> str:
        """Return a text with new names, or `REMOVED` if it contains what may be a name."""
        return REMOVED if self._doubtful.search(self._words.sub(" ", text)) else self.replace_words(text)

    def replace_field(self, key: str, value: str) -> str:
        """Return the new value of a field of JSON or of a cell of a table; `key` is its name or the column."""
        if key in _CASE_KEYS:
            return self.cases.get(value, value)
        if key == "group":
            return self.groups.get(value, value)
        if key in _PROSE_KEYS:
            return self.replace_in_prose(value)
        return self._distinctive.get(value, value)


def _match_words(names: Iterable[str]) -> re.Pattern[str]:
    """Match names that no letter or digit touches, the longest first; a number only where it is no part of another."""
    longest_first = sorted(names, key=len, reverse=True)
    forms = [rf"(?<!\d\.){re.escape(name)}(?!\.\d)" if name.isdigit() else re.escape(name) for name in longest_first]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(forms)})(?![^\W_])") if forms else _NOTHING


def replace_in_json(text: str, new: NewNames, place: str) -> str:
    """Return the text of a JSON file with new names; `place` names the file in a message.

    In a damaged file, strings and words are replaced, and the user is told.
    """
    try:
        before = json.loads(text)
        after = _replace_in_value(before, new)
        return text if after == before else json.dumps(after, indent=2, ensure_ascii=False) + "\n"
    except (ValueError, RecursionError) as error:
        report_damage(f"{place} is damaged: {error}. The names found in it were replaced; delete it if in doubt.")
    for old, own in new.all.items():
        for is_ascii in (False, True):
            text = text.replace(json.dumps(old, ensure_ascii=is_ascii), json.dumps(own, ensure_ascii=is_ascii))
    return new.replace_words(text)


def replace_in_json_lines(text: str, new: NewNames, place: str) -> str:
    """Return a text of one JSON value a line with new names; a damaged line is removed: it may hold half a name."""
    kept = []
    for number, line in enumerate(text.split("\n"), start=1):  # other separators may be inside of a string
        try:
            if "\ufffd" in line:
                raise ValueError("bytes that are no text")
            if line.strip():
                before = json.loads(line)
                after = _replace_in_value(before, new)
                kept.append((line if after == before else json.dumps(after, ensure_ascii=False)) + "\n")
        except (ValueError, RecursionError):
            report_damage(f"Line {number} of {place} was damaged and is removed, because it may hold names.")
    return "".join(kept)


def _replace_in_value(value: object, new: NewNames, key: str = "") -> object:
    match value:
        case dict():
            return {name: _replace_in_value(one, new, str(name)) for name, one in value.items()}
        case list():
            return [_replace_in_value(one, new, key) for one in value]
        case str():
            return new.replace_field(key, value)
    return value


def replace_in_table(text: str, new: NewNames) -> str:
    """Return a table (CSV with a header) with new names; prose if it is none."""
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline="")))
    except (csv.Error, ValueError):
        return new.replace_in_prose(text)
    written = io.StringIO(newline="")
    cleaned = [
        [new.replace_field(column, cell) for column, cell in zip_longest(header[: len(row)], row, fillvalue="")]
        for row in rows
    ]
    csv.writer(written).writerows([header, *cleaned])
    return written.getvalue()


def replace_in_page(page: str, new: NewNames) -> str:
    """Return a report (HTML) with new names in its texts, cells and captions; tags, styles and figures stay."""
    parts, tag = [], ""
    for index, part in enumerate(_TAGS.split(page)):
        if index % 2:
            tag = part
            parts.append(_ALT.sub(lambda found: _clean_escaped(found[0], "<figcaption>", new), part))
        else:
            parts.append(_clean_escaped(part, tag, new))
    return "".join(parts)


def _clean_escaped(escaped: str, tag: str, new: NewNames) -> str:
    """Return the new text after a tag; unescaped for the search, because a character has several escapes."""
    text = html.unescape(escaped)
    cleaned = _clean_after_tag(text, tag, new)
    return escaped if cleaned == text else html.escape(cleaned)


def _clean_after_tag(text: str, tag: str, new: NewNames) -> str:
    if tag.startswith(_NUMBER_TAGS):
        return text
    if tag.startswith(_PROSE_TAGS):
        return new.replace_in_prose(text)
    if tag.startswith("<td") and text.strip() in new.all:
        return new.all[text.strip()]
    if tag.startswith("<figcaption"):
        return _replace_in_caption(text, new)
    return new.replace_words(text)


def _replace_in_caption(caption: str, new: NewNames) -> str:
    """Return a caption such as ``P01: Dice 0.9`` with the new name."""
    found = _CAPTION.fullmatch(caption)
    name, score = found.groups() if found else (caption, "")
    return (new.all[name] if name in new.all else new.replace_words(name)) + score
