"""Damage, as disks, copies, editors and other programs do it to files. The same random numbers make the same damage."""

import json
import random
from collections.abc import Callable
from typing import Any

ODD_TEXT = (b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x80\x81", b"\0", b"\xef\xbb\xbf", "ä\u0308\u202e".encode())
ODD_TOKENS = (
    b"1e999",
    b"NaN",
    b"-Infinity",
    b"9" * 5000,
    b"null",
    b"[" * 3000,
    b'{"a":' * 3000,
    b'"\\ud800"',
    b"-",
    b"<!ENTITY",
    b"2147483648",
    b"-1",
    b"../../x",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    2**63,
    -0.5,
    "",
    "\0",
    "x" * 3000,
    "\ud800",
    "../../../x",
    "/dev/zero",
    "(?P<",
    [],
    {},
    [None],
    [[[]]],
)
MANY = 400


def mutate(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return the kind of damage and the damaged content."""
    kinds = [*ANY_FILE, *(JSON_ONLY if content[:1] in (b"{", b"[") else ())]
    kind = rng.choice(kinds)
    return kind.__name__, kind(content, rng)


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.choice((0, rng.randrange(len(content) + 1), max(0, len(content) - rng.randrange(1, 64))))]


def flip_bit(content: bytes, rng: random.Random) -> bytes:
    return _change(content, rng, lambda byte: byte ^ 1 << rng.randrange(8))


def flip_bit_of_header(content: bytes, rng: random.Random) -> bytes:
    head = content[:MANY]
    return flip_bit(head, rng) + content[MANY:]


def change_bytes(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(1, 12)):
        content = _change(content, rng, lambda byte: rng.randrange(256))
    return content


def insert_bytes(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.randbytes(rng.randrange(1, MANY)) + content[place:]


def remove_bytes(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + content[place + rng.randrange(1, MANY) :]


def write_zeros(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    n_bytes = min(rng.choice((1, 16, 512, 4096)), len(content) - place)
    return content[:place] + bytes(n_bytes) + content[place + n_bytes :]


def swap_blocks(content: bytes, rng: random.Random) -> bytes:
    size = rng.choice((4, 64, 512, 4096))
    blocks = [content[place : place + size] for place in range(0, len(content), size)]
    if len(blocks) > 1:
        one, other = rng.randrange(len(blocks)), rng.randrange(len(blocks))
        blocks[one], blocks[other] = blocks[other], blocks[one]
    return b"".join(blocks)


def repeat_block(content: bytes, rng: random.Random) -> bytes:
    place, size = rng.randrange(len(content) + 1), rng.choice((1, 64, 4096))
    return content[: place + size] + content[place:]


def append_bytes(content: bytes, rng: random.Random) -> bytes:
    return content + rng.choice((bytes(MANY), rng.randbytes(MANY), content[:MANY], b"}", b"\n"))


def write_odd_text(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice(ODD_TEXT) + content[place + rng.randrange(2) :]


def write_odd_token(content: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(content) + 1)
    return content[:place] + rng.choice(ODD_TOKENS) + content[place:]


def write_large_number(content: bytes, rng: random.Random) -> bytes:
    """As a damaged size in a binary header."""
    width = rng.choice((1, 2, 4, 8))
    place = rng.randrange(min(len(content), 4 * MANY) + 1)
    return content[:place] + b"\xff" * (width - 1) + rng.choice((b"\x7f", b"\xff")) + content[place + width :]


def replace_value(content: bytes, rng: random.Random) -> bytes:
    def change(node: Any, key: Any) -> None:
        node[key] = rng.choice(ODD_VALUES)

    return _change_json(content, rng, change)


def remove_key(content: bytes, rng: random.Random) -> bytes:
    return _change_json(content, rng, lambda node, key: node.pop(key))


def add_key(content: bytes, rng: random.Random) -> bytes:
    def change(node: Any, key: Any) -> None:
        if isinstance(node, dict):
            node[rng.choice(("extra", "", "__class__", "name"))] = rng.choice(ODD_VALUES)
        else:
            node.append(rng.choice(ODD_VALUES))

    return _change_json(content, rng, change)


def nest_deeply(content: bytes, rng: random.Random) -> bytes:
    depth = rng.choice((200, 2000, 100_000))
    return rng.choice((b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth))


ANY_FILE = (
    cut,
    flip_bit,
    flip_bit_of_header,
    change_bytes,
    insert_bytes,
    remove_bytes,
    write_zeros,
    swap_blocks,
    repeat_block,
    append_bytes,
    write_odd_text,
    write_odd_token,
    write_large_number,
)
JSON_ONLY = (replace_value, replace_value, replace_value, remove_key, add_key, nest_deeply)


def _change(content: bytes, rng: random.Random, change: Callable[[int], int]) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    return content[:place] + bytes([change(content[place])]) + content[place + 1 :]


def _change_json(content: bytes, rng: random.Random, change: Callable[[Any, Any], object]) -> bytes:
    """Change one place of a JSON text; of a file with one JSON text per line, one line."""
    lines = content.splitlines()
    try:
        place = -1
        tree = json.loads(content)
    except ValueError:
        place = rng.randrange(len(lines))
        try:
            tree = json.loads(lines[place])
        except ValueError:
            return flip_bit(content, rng)
    places = list(_list_places(tree))
    if not places:
        return b"{}"
    change(*rng.choice(places))
    text = json.dumps(tree).encode(errors="replace")
    return text if place < 0 else b"\n".join([*lines[:place], text, *lines[place + 1 :]]) + b"\n"


def _list_places(node: Any) -> Any:
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _list_places(node[key])
