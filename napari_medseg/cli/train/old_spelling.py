"""Translate the old spelling of `medseg train`, for one release: its options become commands with their own options."""

import shlex
from collections.abc import Sequence

COMMANDS = frozenset(("project", "folders", "resume", "decide", "discard", "preview"))
HELP = frozenset(("-h", "--help"))
FLAGS = HELP | {
    "--binarise",
    "--check",
    "--continue",
    "--discard",
    "--instances",
    "--json",
    "--prepare",
    "--promote",
    "--skip-mismatches",
}
"""Options of the old command without a value; every other option takes one."""
RENAMED = {"--budget-s": "--budget", "--show-batch": "--preview"}
DROPPED = frozenset(("--continue", "--discard"))


def translate_old_spelling(arguments: Sequence[str]) -> list[str] | None:
    """Return the arguments of `medseg` in the new spelling, or `None` if they do not use the old one.

    Parameters
    ----------
    arguments
        All words after `medseg`, such as ``["train", "run", "--continue"]``.

    Returns
    -------
    list of str or None
        Such as ``["train", "resume", "run"]``. Options that the new command does not have are kept, so that the command
        rejects them.
    """
    if not arguments or arguments[0] != "train":
        return None
    words = arguments[1:]
    if words and words[0] in COMMANDS | HELP:
        return None
    options, sources = _split_options(words)
    names = {option[0] for option in options}
    if sources and not options:  # a mistyped command
        return None
    has_folders = bool(names & {"--images", "--masks"})
    if "--discard" in names:
        command = ["discard"]
    elif "--continue" in names:
        command = ["resume", *sources]
    elif "--show-batch" in names and (sources or not has_folders):
        pictures = [option[1:] for option in options if option[0] == "--show-batch"]
        command = ["preview", *pictures[-1], *sources]
        options = [option for option in options if option[0] != "--show-batch"]
    else:
        command = ["folders" if has_folders else "project", *sources]
    renamed = [(RENAMED.get(name, name), *value) for name, *value in options if name not in DROPPED]
    return ["train", *command, *(word for option in renamed for word in option)]


def format_notice(old: Sequence[str], new: Sequence[str]) -> str:
    """Return the line that shows the new spelling of a command."""
    return f"medseg {shlex.join(old)} is now: medseg {shlex.join(new)}; the next release removes the old spelling"


def _split_options(words: Sequence[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Split words into options, each with its value if it takes one, and positional arguments."""
    options: list[tuple[str, ...]] = []
    sources: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return options, [*sources, *rest]
        if not word.startswith("-") or word == "-":
            sources.append(word)
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            options.append((name, value) if equals else _take_value(name, rest))
        else:  # -t lungs or -tlungs
            options.append((word[:2], word[2:]) if word[2:] else _take_value(word, rest))
    return options, sources


def _take_value(name: str, rest: list[str]) -> tuple[str, ...]:
    """Return an option with its value, removed from `rest`; without a value if it is a flag or `rest` is empty."""
    return (name,) if name in FLAGS or not rest else (name, rest.pop(0))
