"""`measurements.csv` of an export folder: one row for each label of each case."""

import csv
import io
from pathlib import Path

from napari_medseg.core.atomic_io import atomic_write_text
from napari_medseg.workflow.output.provenance import Entry

MEASUREMENTS_FILE = "measurements.csv"
_COLUMNS = (
    *("case", "group", "labels_file", "label", "name", "voxels", "value", "unit"),
    *("objects", "share_of_field", "shares_of_its_parts", "reviewed_share", "flagged", "note", "second_reader_note"),
)


def write_measurements(folder: Path, entries: list[Entry]) -> Path:
    """Write the measurements of all entries of `provenance.json` as a table, and return its path."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")  # what was read may be damaged
    table.writeheader()
    for entry in entries:
        of_case = {key: entry[key] for key in ("case", "group", "labels_file")}
        of_case["reviewed_share"] = entry.get("reviewed_share", 1.0)  # older exports have no review regions
        of_case["flagged"] = int(bool(entry.get("flagged")))
        of_case["note"] = entry.get("note") or ""
        of_case["second_reader_note"] = "; ".join(_list_second_notes(entry))
        table.writerows(of_case | measurement for measurement in entry["measurements"])
    path = folder / MEASUREMENTS_FILE
    atomic_write_text(path, text.getvalue())
    return path


def _list_second_notes(entry: Entry) -> list[str]:
    found = entry.get("second_reading")
    notes = [one.get("note") for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [note for note in notes if isinstance(note, str)]
