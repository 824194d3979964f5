"""Icons of the tools: drawn as SVG in a 20 px square, in one colour, so that they fit a dark and a light theme."""

from qtpy.QtCore import QByteArray, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

PIXELS = 60
"""Three times the size on the screen, for fine displays."""
DISABLED_OPACITY = 0.35
_FRAME = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20" fill="none" stroke="{colour}" stroke-width="1.5" '
    'stroke-linecap="round" stroke-linejoin="round">{shapes}</svg>'
)
_SHAPES = {
    "pan_zoom": '<path d="M10 2v16M2 10h16M10 2l-2.2 2.2M10 2l2.2 2.2M10 18l-2.2-2.2M10 18l2.2-2.2M2 10l2.2-2.2'
    'M2 10l2.2 2.2M18 10l-2.2-2.2M18 10l-2.2 2.2"/>',
    "paint": '<path d="M17 3l-7.5 8.5"/><path d="M9.5 11.5c-2-.5-4 .6-4.3 2.7-.2 1.5-.9 2.3-2.2 2.8'
    ' 2.6.9 7.6.4 8-3 .1-1-.4-2-1.5-2.5z" fill="{colour}"/>',
    "erase": '<path d="M11.5 3.5l5 5-7.5 8h-4l-2.5-2.5z"/><path d="M7 8.5l5 5"/><path d="M9 16.5h8"/>',
    "fill": '<path d="M9 3.5l6.5 6.5-6 6-6.5-6.5z"/><path d="M3.5 9.5h11.5l-5.5 6z" fill="{colour}"/>'
    '<path d="M17.5 13.5c-1 1.4-1 2.5 0 2.5s1-1.1 0-2.5z" fill="{colour}"/>',
    "pick": '<path d="M12 5l3 3-8.5 8.5h-3v-3z"/><path d="M10.5 6.5l3 3M13.5 3.5c1-1 3.5 1 2.5 3l-1.5 1'
    '.5-2.5-3z" fill="{colour}"/>',
    "smart": '<path d="M16 8l-6.5 6"/><path d="M9.5 14c-1.5-.4-3 .5-3.2 2-.1.9-.7 1.4-1.6 1.7 2 .6 5.4'
    '.3 5.8-2.3 0-.6-.3-1.1-1-1.4z" fill="{colour}"/><path d="M5.5 2v6M2.5 5h6M14 2.5v3M12.5 4h3"/>',
    "border": '<path d="M4 16c-1-8 5-13 12-11"/><path d="M9.5 9.5l6 6M15.5 12v3.5h-3.5" />'
    '<circle cx="8" cy="8" r="1.6" fill="{colour}"/>',
    "outline": '<path d="M16.5 8.5c1 4-3 8.5-7.5 8-5-.5-7.5-5-5.5-9 1.8-3.6 6-5 9-3.5" stroke-dasharray="2.5 2.5"/>'
    '<path d="M17.5 2.5l-4 5M13.5 7.5l-.5 1.8 1.6-1z" fill="{colour}"/>',
    "cut": '<circle cx="5" cy="5.5" r="2.3"/><circle cx="5" cy="14.5" r="2.3"/><path d="M7 7l10 8M7 13l10-8"/>',
    "join": '<path d="M9 5.5a4.5 4.5 0 1 0 0 9M11 5.5a4.5 4.5 0 1 1 0 9"/><path d="M6 10h8M12 8l2 2-2 2M8 8'
    'l-2 2 2 2"/>',
    "likely": '<path d="M3 4h7l7 7-6 6-8-7z"/><circle cx="6.5" cy="7.5" r="1" fill="{colour}"/><path d="M13 3h4v4"/>',
    "delete": '<path d="M3.5 5.5h13M7.5 5.5v-2h5v2M5 5.5l1 12h8l1-12M8.5 8.5v6M11.5 8.5v6"/>',
    "keep": '<circle cx="10" cy="10" r="3.5" fill="{colour}"/><path d="M2.5 6v-3.5h3.5M17.5 6v-3.5h-3.5'
    'M2.5 14v3.5h3.5M17.5 14v3.5h-3.5"/>',
    "holes": '<circle cx="10" cy="10" r="7.5"/><circle cx="10" cy="10" r="3" fill="{colour}"/>',
    "smooth": '<path d="M2.5 7l2.5-3 2.5 3 2.5-3 2.5 3 2.5-3 2.5 3"/><path d="M2.5 15c5-5 10-5 15 0"/>',
    "grow": '<circle cx="10" cy="10" r="3"/><path d="M10 4.5v-3M10 18.5v-3M4.5 10h-3M18.5 10h-3M10 1.5l-1.5'
    " 1.5M10 1.5l1.5 1.5M10 18.5l-1.5-1.5M10 18.5l1.5-1.5M1.5 10l1.5-1.5M1.5 10l1.5 1.5"
    'M18.5 10l-1.5-1.5M18.5 10l-1.5 1.5"/>',
    "shrink": '<circle cx="10" cy="10" r="2.5"/><path d="M10 1.5v4.5M10 18.5v-4.5M1.5 10h4.5M18.5 10'
    "h-4.5M10 6l-1.5-1.5M10 6l1.5-1.5M10 14l-1.5 1.5M10 14l1.5 1.5M6 10l-1.5-1.5M6 10l-1.5 1.5"
    'M14 10l1.5-1.5M14 10l1.5 1.5"/>',
    "specks": '<circle cx="7" cy="8" r="4"/><circle cx="15" cy="5" r="1" fill="{colour}"/><circle cx="14.5"'
    ' cy="14.5" r="1.2" fill="{colour}"/><circle cx="6" cy="16.5" r="1" fill="{colour}"/>'
    '<path d="M11.5 17.5l6-6"/>',
    "swap": '<path d="M3 7h13M13 4l3 3-3 3M17 13h-13M7 10l-3 3 3 3"/>',
    "volume": '<path d="M10 2l7 4v8l-7 4-7-4v-8z"/><path d="M3 6l7 4 7-4M10 10v8"/>',
}


def make_icon(name: str, colour: str) -> QIcon:
    """Return the icon of a tool in a colour (hex); a disabled button shows it paler."""
    svg = _FRAME.format(colour=colour, shapes=_SHAPES[name].replace("{colour}", colour))
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    icon = QIcon()
    for mode, opacity in ((QIcon.Mode.Normal, 1.0), (QIcon.Mode.Disabled, DISABLED_OPACITY)):
        pixels = QPixmap(PIXELS, PIXELS)
        pixels.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixels)
        painter.setOpacity(opacity)
        renderer.render(painter)
        painter.end()
        icon.addPixmap(pixels, mode)
    return icon
