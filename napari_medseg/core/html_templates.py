"""HTML pages from the Jinja templates of a package; every value is escaped."""

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
        Package whose folder ``templates`` holds the template and those that it extends or imports.
    template
        File name of the template.
    values
        Values by their names in the template. Text is escaped: a case called ``<script>`` is shown, not run.

    Raises
    ------
    jinja2.TemplateError
        If the template does not exist, or uses a value that is not given.
    """
    return _make_environment(package).get_template(template).render(values)


@cache
def _make_environment(package: str) -> "Environment":
    # Imported here because jinja2 takes 0.1 s to import and is not needed when the window opens.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
