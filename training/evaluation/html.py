"""Pieces of a report that needs no network and no other file: tables, figures, pictures in the page."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

import imagecodecs
import numpy as np
from numpy.typing import NDArray

STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:64rem;margin:2.5rem auto;padding:0 1.25rem;
color:#1f2933;background:#fff}
h1{font-size:1.6rem;margin:0 0 1rem}h2{font-size:1.1rem;margin:2.2rem 0 .6rem;padding-bottom:.3rem;
border-bottom:1px solid #e3e6e8}p{max-width:46rem}li{margin:.15rem 0}
table{border-collapse:collapse;margin:.8rem 0;display:block;overflow-x:auto}
th{font-weight:600;color:#5b6670;font-size:.87em}
th,td{padding:.3rem .8rem;border-bottom:1px solid #e3e6e8;text-align:left;white-space:nowrap}
td.number{text-align:right;font-variant-numeric:tabular-nums}tr:hover td{background:#f6f8f9}
figure{display:inline-block;vertical-align:top;margin:.5rem 1.2rem .7rem 0}img,svg{max-width:100%;height:auto}
figcaption{color:#5b6670;font-size:.87em;max-width:460px}
dl{display:flex;flex-wrap:wrap;gap:.7rem;margin:1rem 0 1.4rem}
dl div{background:#f3f6f8;border-radius:8px;padding:.6rem 1rem;min-width:6rem}
dt{color:#5b6670;font-size:.8em}dd{margin:0;font-size:1.35rem;font-variant-numeric:tabular-nums}
@media print{body{margin:0}figure,table{break-inside:avoid}}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page."""
    name = escape(title)
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{name}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body><h1>{name}</h1>{''.join(parts)}</body></html>\n"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """Return a heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def table(header: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> str:
    """Return a table; fractions are shown with four digits."""
    top = "".join(f"<th>{escape(word)}</th>" for word in header)
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def bullets(lines: Iterable[str]) -> str:
    """Return a list of plain texts."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Return the figures that a reader looks for first: a name and a value each."""
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures)
    return f"<dl>{shown}</dl>" if shown else ""


def figure(rgb: NDArray[np.uint8], caption: str) -> str:
    """Return a picture (y, x, 3) with a caption."""
    data = base64.b64encode(imagecodecs.png_encode(np.ascontiguousarray(rgb))).decode()
    text = escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="number">{value:.4f}</td>' if isinstance(value, float) else f'<td class="number">{value}</td>'
