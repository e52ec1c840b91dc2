"""A contact sheet: the query and the images it found, for people to look at."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from utils.system.errors import printable

TILE = 180
FRAME = 6
FONT_SIZE = 13
LINE = 18
GAP = 10
COLUMNS = 5
MOST_IMAGES = 200
"""On a sheet: more would be more than people look at, and than a JPEG file can hold."""
PAPER, INK = (255, 255, 255), (40, 40, 40)
FRAME_COLOURS = {True: (34, 139, 34), False: (200, 30, 30), None: (120, 120, 120)}
LEGEND = {True: "shares a label", False: "shares no label", None: "not known"}
LEGEND_WIDTH = 110
MARKS = {
    True: [((4, 9), (7, 12), (13, 5))],
    False: [((5, 5), (12, 12)), ((5, 12), (12, 5))],
    None: [((5, 6), (7, 3), (11, 3), (12, 6), (9, 8), (9, 10)), ((9, 13), (9, 14))],
}
"""A tick, a cross and a question mark on a square of `LINE`: strokes, for who sees no colours."""
FONTS = (
    *("", "DejaVuSans", "segoeui", "Arial Unicode", "NotoSansCJK-Regular", "wqy-microhei"),
    *("PingFang", "Hiragino Sans GB", "msyh", "AppleSDGothicNeo", "malgun", "NotoSans-Regular"),
    *("NotoSansArabic-Regular", "NotoSansDevanagari-Regular", "NotoSansThai-Regular", "Nirmala"),
    *("NotoEmoji-Regular", "Symbola_hint", "seguisym"),
)
"""Files of Debian, macOS and Windows, in the order they are asked; the first is Pillow's own."""


def draw_contact_sheet(
    query: Image.Image,
    query_lines: Sequence[str],
    found: Sequence[tuple[Image.Image, Sequence[str], bool | None]],
) -> Image.Image:
    """Draws the query large and the images found beside it in rows of five, RGB.

    Args:
        query: RGB.
        query_lines: the caption under it.
        found: images, nearest first, each with its caption and whether it is relevant.
    """
    caption = LINE * max(map(len, (query_lines, *(lines for _, lines, _ in found))))
    step_x, step_y = TILE + GAP, TILE + caption + GAP
    rows = max(1, -(-len(found) // COLUMNS))
    columns = min(COLUMNS, max(1, len(found)))
    query_side = min(rows, 2) * step_y - GAP - caption
    left = query_side + 3 * GAP
    foot = GAP + rows * step_y
    sheet = Image.new("RGB", (left + columns * step_x, foot + LINE + GAP), PAPER)
    _paste(sheet, query, (GAP, GAP), query_side, query_lines, INK)
    for place, (image, lines, relevant) in enumerate(found):
        row, column = divmod(place, COLUMNS)
        corner = (left + column * step_x, GAP + row * step_y)
        _paste(sheet, image, corner, TILE, lines, FRAME_COLOURS[relevant])
        _mark(sheet, corner, relevant)
    known = {relevant for _, _, relevant in found}
    for place, relevant in enumerate(each for each in LEGEND if each in known):
        x = GAP + place * (LEGEND_WIDTH + LINE)
        _mark(sheet, (x, foot), relevant)
        sheet.paste(_written(LEGEND[relevant], LEGEND_WIDTH), (x + LINE + FRAME, foot))
    return sheet


def _paste(
    sheet: Image.Image,
    image: Image.Image,
    corner: tuple[int, int],
    side: int,
    lines: Sequence[str],
    colour: tuple[int, int, int],
) -> None:
    x, y = corner
    ImageDraw.Draw(sheet).rectangle((x, y, x + side - 1, y + side - 1), fill=colour)
    inner = side - 2 * FRAME
    sheet.paste(ImageOps.fit(image, (inner, inner), Image.BILINEAR), (x + FRAME, y + FRAME))
    for number, line in enumerate(lines):
        sheet.paste(_written(line, side), (x, y + side + number * LINE))


def _mark(sheet: Image.Image, corner: tuple[int, int], relevant: bool | None) -> None:
    """Draws the sign of a frame's colour on a square of it."""
    x, y = corner
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + LINE - 1, y + LINE - 1), fill=FRAME_COLOURS[relevant])
    for stroke in MARKS[relevant]:
        draw.line([(x + right, y + down) for right, down in stroke], fill=PAPER, width=2)


def _written(text: str, width: int) -> Image.Image:
    """A line of text, cut off where it is wider, in whatever fonts of this machine have it."""
    text = text[: width // 3]  # hardly a letter is narrower
    runs = _runs(text)
    while (over := sum(font.getlength(part) for font, part in runs) - width) > 0:
        text = text[: -1 - int(over) // 80]  # no escape is wider
        runs = _runs(f"{text}...")
    strip, x = Image.new("RGB", (width, LINE), PAPER), 0.0
    draw = ImageDraw.Draw(strip)
    for font, part in runs:  # a name that begins in Arabic ends with its .jpg, too
        way = "ltr" if font.layout_engine == ImageFont.Layout.RAQM else None
        draw.text((x, LINE - 4), part, fill=INK, font=font, anchor="ls", direction=way)
        x += font.getlength(part)
    return strip


def _runs(text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
    """The text, cut where the font changes; characters that no font has are escapes."""
    runs: list[list[str]] = [["", ""]]
    for character in printable(unicodedata.normalize("NFC", text)):
        fonts = (name for name in (runs[-1][0], *FONTS) if _has(name, character))
        name = next(fonts, None)
        if name is None:
            name, character = "", character.encode("unicode_escape").decode()
        if name != runs[-1][0]:
            runs.append([name, ""])
        runs[-1][1] += character
    return [(_font(name), part) for name, part in runs if part]


@functools.cache
def _font(name: str) -> ImageFont.FreeTypeFont | None:
    """A font of this machine by its file's name, or None; Pillow's own has none."""
    try:
        return ImageFont.truetype(name, FONT_SIZE) if name else ImageFont.load_default(FONT_SIZE)
    except OSError:  # not there, or not in this size
        return None


@functools.lru_cache(maxsize=1 << 14)
def _has(name: str, character: str) -> bool:
    """Whether a font draws a character otherwise than what is none."""
    font = _font(name)
    if font is None or not name:
        return font is not None and character.isascii()
    drawn, missing = (font.getmask(each) for each in (character, "\uffff"))
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))
