"""Groups without names: equal hashes for one patient and one key, and a label that people can read."""

import hashlib
import hmac

import pytest

from napari_medseg.core.grouping.keyed_groups import (
    choose_group_noun,
    compute_group_digest,
    get_group_digest,
    get_group_label,
    get_group_noun,
    get_group_of_source,
    is_keyed_group,
    key_groups,
    make_keyed_group,
)
from napari_medseg.core.tasks.bundled_tasks import TASKS

KEY = bytes(32)
KEYED = make_keyed_group("slide", 3, compute_group_digest("S-17", KEY))


def test_the_hash_is_hmac_sha256_of_the_group() -> None:
    full = hmac.new(KEY, b"S-17", hashlib.sha256).hexdigest()
    assert full.startswith(get_group_digest(KEYED))
    assert compute_group_digest("S-17", b"another key".ljust(32)) != get_group_digest(KEYED)
    assert "S-17" not in KEYED


@pytest.mark.parametrize("group", ["S-17", "", "patient 3", "patient 3 #12", "x/S-17"])
def test_other_groups_are_not_keyed(group: str) -> None:
    assert not is_keyed_group(group)
    assert (get_group_label(group), get_group_noun(group), get_group_digest(group)) == (group, "patient", "")


def test_a_keyed_group_of_a_source_keeps_its_noun_only() -> None:
    group = f"x/{KEYED}"
    assert not is_keyed_group(group)
    assert (get_group_label(group), get_group_noun(group), get_group_digest(group)) == (group, "slide", "")


def test_label_and_noun_are_read_back() -> None:
    assert is_keyed_group(KEYED)
    assert (get_group_label(KEYED), get_group_noun(KEYED)) == ("slide 3", "slide")
    assert get_group_of_source(f"lungs/{KEYED}") == get_group_of_source(KEYED) == KEYED


def test_groups_are_keyed_one_to_one_and_their_numbers_say_nothing_about_their_order() -> None:
    names = [f"p{number}" for number in range(40)]
    keyed = key_groups(names, KEY)
    assert keyed == key_groups(reversed(names), KEY)
    assert len(set(keyed.values())) == len(names)
    assert {get_group_label(group) for group in keyed.values()} == {f"patient {number + 1}" for number in range(40)}
    assert [get_group_label(keyed[name]) for name in names] != [f"patient {number + 1}" for number in range(40)]


def test_tasks_say_what_their_groups_are() -> None:
    nouns = {name: choose_group_noun(task) for name, task in TASKS.items()}
    assert nouns == {"lungs": "patient", "covid": "patient", "nuclei": "slide", "instruments": "video"}
