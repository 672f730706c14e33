"""The report as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas_lightning.studies.report.page import Picture, Section
from nas_lightning.studies.report.plotting import inline


def to_html(title: str, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    environment = Environment(
        loader=PackageLoader("nas_lightning.studies.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = _inline
    environment.filters["tied"] = _tied
    return environment.get_template("template.html").render(title=title, sections=sections)


def _tied(text: str) -> str:
    """Prevent line breaks inside of `n = 5` and `5 %`."""
    return text.replace(" = ", "\u00a0=\u00a0").replace(" %", "\u00a0%")


def _inline(picture: Picture) -> Markup:
    """Return the picture as an HTML element; its text was escaped when it was drawn."""
    return Markup(inline(picture.svg, picture.name))
