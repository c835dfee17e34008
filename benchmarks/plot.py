"""A plain bar chart as SVG, on a logarithmic scale: the systems are orders of magnitude apart."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LABELS, VALUES, BAR, GAP, HEAD = 760, 190, 80, 20, 8, 44
OURS_COLOUR, PEER_COLOUR = "#1f6feb", "#9aa4b2"

Panel = tuple[str, Mapping[str, float | None]]


def bars(panels: Sequence[Panel]) -> str:
    """Panels one below the other, each a title and a bar per name; what was not measured is left out."""
    parts: list[str] = []
    top = 0
    for title, values in panels:
        known = {name: value for name, value in values.items() if value is not None and value > 0}
        parts.append(_text(10, top + 26, f"{title} (logarithmic)", weight="bold"))
        top += HEAD
        for name, value in known.items():
            parts += _bar(top, name, value, smallest=min(known.values()), largest=max(known.values()))
            top += BAR + GAP
    style = "font-family: system-ui, sans-serif; font-size: 13px"
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + GAP}" style="{style}">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _bar(top: int, name: str, value: float, *, smallest: float, largest: float) -> list[str]:
    # The smallest bar is a tenth of the largest one's decades, so that it can still be seen.
    low = math.log10(smallest) - max(0.3, math.log10(largest / smallest) / 10)
    share = (math.log10(value) - low) / (math.log10(largest) - low)
    length = share * (WIDTH - LABELS - VALUES)
    colour = OURS_COLOUR if name.startswith("ours") else PEER_COLOUR
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
    return [
        _text(10, top + 15, name),
        f'<rect x="{LABELS}" y="{top}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
        _text(LABELS + length + 6, top + 15, shown),
    ]


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y}" font-weight="{weight}">{escape(text)}</text>'
