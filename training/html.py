"""Pieces of a report that needs no network and no other file: tables, curves as SVG, pictures in the page."""

import base64
import math
from collections.abc import Iterable, Sequence
from html import escape

import imagecodecs
import numpy as np
from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX, MARGIN_PX = 460, 220, 36
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:left}
td.number{text-align:right;font-variant-numeric:tabular-nums}figure{display:inline-block;margin:.5rem 1rem .5rem 0}
figcaption{color:#555;font-size:.9em}svg text{font-size:11px;fill:#555}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page."""
    name = escape(title)
    head = f'<meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
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


def curve(title: str, values: Sequence[float], colour: str) -> str:
    """Return a line through one value for each epoch; values that are no numbers leave a gap."""
    known = [(epoch, value) for epoch, value in enumerate(values, start=1) if math.isfinite(value)]
    if not known:
        return ""
    low, high = min(value for _, value in known), max(value for _, value in known)
    spread = (high - low) or 1.0
    across = (WIDTH_PX - 2 * MARGIN_PX) / max(1, len(values) - 1)
    points = [
        (MARGIN_PX + (epoch - 1) * across, HEIGHT_PX - MARGIN_PX - (value - low) / spread * (HEIGHT_PX - 2 * MARGIN_PX))
        for epoch, value in known
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
    words = (
        f'<text x="2" y="{MARGIN_PX - 8}">{high:.4g}</text>'
        f'<text x="2" y="{HEIGHT_PX - MARGIN_PX + 14}">{low:.4g}</text>'
        f'<text x="{WIDTH_PX - MARGIN_PX - 40}" y="{HEIGHT_PX - 6}">epoch {len(values)}</text>'
    )
    box = f'<svg width="{WIDTH_PX}" height="{HEIGHT_PX}" viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img">'
    drawn = f'{box}<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}{words}</svg>'
    return f"<figure>{drawn}<figcaption>{escape(title)}</figcaption></figure>"


def picture(rgb: NDArray[np.uint8], caption: str) -> str:
    """Return a picture (y, x, 3) with a caption."""
    data = base64.b64encode(imagecodecs.png_encode(np.ascontiguousarray(rgb))).decode()
    text = escape(caption)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f"<td>{escape(value)}</td>"
    return f'<td class="number">{value:.4f}</td>' if isinstance(value, float) else f'<td class="number">{value}</td>'
