"""What becomes of pydicom's own test files is what `docs/formats.md` says."""

import warnings
from pathlib import Path

import pydicom
import pydicom_files
import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs" / "formats.md"


@pytest.mark.skipif(pydicom.__version__[:2] != "3.", reason="the files are those of pydicom 3")
def test_each_file_of_pydicom_is_read_or_refused_as_the_docs_say() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = list(pydicom_files.make_table())
    assert made == pydicom_files.get_table(DOCS.read_text(encoding="utf-8")), (
        "python tests/core/dicom/pydicom_files.py docs/formats.md writes the table anew"
    )
