"""A contact sheet: the query and the images it found, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from utils.system.errors import printable

TILE = 180
FRAME = 6
CAPTION = 20
GAP = 10
COLUMNS = 5
MOST_IMAGES = 200
"""On a sheet: more would be more than people look at, and than a JPEG file can hold."""
PAPER, INK = (255, 255, 255), (40, 40, 40)
FRAME_COLOURS = {True: (34, 139, 34), False: (200, 30, 30), None: (200, 200, 200)}
"""Green: shares a label with the query; red: does not; grey: not known."""


def draw_contact_sheet(
    query: Image.Image,
    query_caption: str,
    found: Sequence[tuple[Image.Image, str, bool | None]],
) -> Image.Image:
    """Draws the query large and the images found beside it in rows of five, RGB.

    Args:
        query: RGB.
        query_caption: the line under it.
        found: images, nearest first, each with its caption and whether it is relevant.
    """
    step_x, step_y = TILE + GAP, TILE + CAPTION + GAP
    rows = max(1, -(-len(found) // COLUMNS))
    columns = min(COLUMNS, max(1, len(found)))
    query_side = min(rows, 2) * step_y - GAP - CAPTION
    left = query_side + 3 * GAP
    size = (left + columns * step_x, max(rows * step_y, query_side + CAPTION + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    _paste(sheet, query, (GAP, GAP), query_side, query_caption, None)
    for place, (image, caption, relevant) in enumerate(found):
        row, column = divmod(place, COLUMNS)
        corner = (left + column * step_x, GAP + row * step_y)
        _paste(sheet, image, corner, TILE, caption, relevant)
    return sheet


def _paste(
    sheet: Image.Image,
    image: Image.Image,
    corner: tuple[int, int],
    side: int,
    caption: str,
    relevant: bool | None,
) -> None:
    draw = ImageDraw.Draw(sheet)
    x, y = corner
    draw.rectangle((x, y, x + side - 1, y + side - 1), fill=FRAME_COLOURS[relevant])
    inner = side - 2 * FRAME
    image = ImageOps.fit(image, (inner, inner), Image.BILINEAR)
    sheet.paste(image, (x + FRAME, y + FRAME))
    font = ImageFont.load_default()
    caption = printable(caption).encode("latin-1", "backslashreplace").decode("latin-1")
    while draw.textlength(caption, font=font) > side:
        caption = caption[:-4] + "..."
    draw.text((x, y + side + 3), caption, fill=INK, font=font)
