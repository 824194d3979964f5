"""What a command wrote that makes files of many cases, and which cases it left out."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class WrittenCases:
    """The result of sharing, or of writing a data set.

    Parameters
    ----------
    files
        All files, lists and checksums last.
    remarks
        What a person should know about them: what a layout does not hold, or what pixels may show of a person.
    refused
        Why a case was left out, one sentence each.
    """

    files: list[Path] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
