"""Templates are found in the installed package, escape what they are given, and say what they lack."""

from importlib.resources import files
from pathlib import Path

import pytest
from jinja2 import TemplateNotFound, UndefinedError

from napari_medseg.core.html_templates import render_html

PLUGIN = "napari_medseg.plugin"
ROOT = Path(__file__).resolve().parents[2]


def test_values_are_escaped() -> None:
    page = render_html(PLUGIN, "key_help.html", {"sections": {"<i>": [("<script>", "\"quoted\" & 'quoted'")]}})
    assert "<h3>&lt;i&gt;</h3>" in page
    assert "<b>&lt;script&gt;</b>" in page
    assert "&#34;quoted&#34; &amp; &#39;quoted&#39;" in page


def test_a_missing_value_or_template_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="sections"):
        render_html(PLUGIN, "key_help.html", {})
    with pytest.raises(TemplateNotFound, match=r"no_such\.html"):
        render_html(PLUGIN, "no_such.html", {})


@pytest.mark.parametrize("package", [PLUGIN, "training"])
def test_no_template_switches_the_escaping_off(package: str) -> None:
    templates = [item for item in files(package).joinpath("templates").iterdir() if item.name.endswith(".html")]
    assert templates
    for template in templates:
        text = template.read_text(encoding="utf-8")
        assert "safe" not in text, template.name
        assert "autoescape" not in text, template.name


def test_html_is_written_in_templates_only() -> None:
    """A tag in a string of Python is a page that escapes by hand."""
    tags = ("</p>", "</td>", "</div>", "</h2>", "</h3>", "</html>", "<br>", "from html import")
    for folder in ("napari_medseg", "training"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert not [tag for tag in tags if tag in text], path
