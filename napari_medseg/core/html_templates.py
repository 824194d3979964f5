"""HTML pages from the templates that a package brings along; each value is escaped, whoever wrote it."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render_html(package: str, template: str, values: Mapping[str, object]) -> str:
    """Fill a template.

    Parameters
    ----------
    package
        Its folder ``templates`` holds the template, and those that it extends or imports.
    template
        Name of the file.
    values
        By their names in the template. Text is escaped: a case called ``<script>`` is shown and not run.

    Raises
    ------
    jinja2.TemplateError
        If there is no such template, or it uses a value that is not given.
    """
    return _make_environment(package).get_template(template).render(values)


@cache
def _make_environment(package: str) -> "Environment":
    # Here and not above: the window shows its first page long after it opened, and jinja2 takes 0.1 s to import.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
