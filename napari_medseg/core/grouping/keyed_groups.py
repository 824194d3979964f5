"""Groups without names: a keyed hash of the patient, slide or video, with a label that people can read.

``patient 12 #3f9a2c41d07be512`` is the twelfth patient of a project; the number after ``#`` is the hash. Equal groups
have equal hashes as long as the key is the same, so that a patient who is imported twice is one group. Without the key,
which stays in the project, nobody can try all PatientIDs to find the one of a hash.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Literal

from napari_medseg.core.tasks.bundled_tasks import Task

GroupNoun = Literal["patient", "slide", "video"]

HASH_CHARS = 16
"""64 bits: among a million groups, two share a hash with a probability of 3e-8."""

_KEYED = re.compile(rf"(?P<label>(?P<noun>[a-z]+) (?P<number>[0-9]+)) #(?P<digest>[0-9a-f]{{{HASH_CHARS}}})")


def compute_group_digest(group: str, key: bytes) -> str:
    """Return the first characters of the HMAC-SHA256 (RFC 2104) of a group as hexadecimal text."""
    return hmac.new(key, group.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:HASH_CHARS]


def make_keyed_group(noun: str, number: int, digest: str) -> str:
    """Return a group's label with its hash, such as ``patient 12 #3f9a2c41d07be512``."""
    return f"{noun} {number} #{digest}"


def is_keyed_group(group: str) -> bool:
    """Whether a group is a label with a hash, and not a name."""
    return _KEYED.fullmatch(group) is not None


def get_group_label(group: str) -> str:
    """Return the label of a keyed group, such as ``patient 12``; any other group as it is."""
    found = _KEYED.fullmatch(group)
    return found["label"] if found else group


def get_group_noun(group: str) -> str:
    """Return the first word of a keyed group's label, with or without its source; ``patient`` for any other group."""
    found = _KEYED.fullmatch(get_group_of_source(group))
    return found["noun"] if found else "patient"


def find_group_noun(groups: Iterable[str]) -> str:
    """Return what some groups are, patients, slides or videos, in the singular; ``patient`` if no name says so."""
    return next((get_group_noun(group) for group in groups if is_keyed_group(get_group_of_source(group))), "patient")


def count_groups(number: int, noun: str) -> str:
    """Return a number of groups in words, such as ``1 slide`` or ``1,200 patients``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def get_group_digest(group: str) -> str:
    """Return the hash of a keyed group; empty for any other group."""
    found = _KEYED.fullmatch(group)
    return found["digest"] if found else ""


def get_group_of_source(group: str) -> str:
    """Return a group without the name of its source: ``lungs/patient 4 #...`` is ``patient 4 #...``."""
    _, slash, own = group.partition("/")
    return own if slash else group


def key_groups(groups: Iterable[str], key: bytes, noun: str = "patient") -> dict[str, str]:
    """Return a keyed group for each group, numbered in the order of the hashes, which says nothing about the names."""
    digests = {group: compute_group_digest(group, key) for group in groups}
    ranked = sorted(digests, key=lambda group: digests[group])
    return {group: make_keyed_group(noun, number, digests[group]) for number, group in enumerate(ranked, start=1)}


def choose_group_noun(task: Task) -> GroupNoun:
    """Return what the images of a task are grouped by: histology by slide, endoscopy by video, others by patient."""
    if task.looks == ("stained",):
        return "slide"
    return "video" if task.looks == ("endoscopic",) else "patient"
