"""What a person sees of a search: a table, a contact sheet, the kept lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from utils.datasets import Split
from utils.search import Match
from utils.search.contact_sheet import draw_contact_sheet
from utils.system.errors import UserError
from utils.system.files import replacing

BLANK = Image.new("RGB", (1, 1), (128, 128, 128))


def report_search(
    query: int,
    queries: Split,
    matches: Sequence[Match],
    database: Split,
    folder: Path,
    say: Callable[[str], None],
    skip_bad: bool = False,
) -> Path:
    """Says what one query has found and leaves pictures of it.

    Writes a contact sheet, `search_{name}.jpg` (`search_{number}_{name}.jpg` of several queries),
    and a copy of the nearest picture.

    Args:
        query: its row in `queries`.
        queries: the query pictures.
        matches: what it has found, nearest first; at least one.
        database: the pictures found in, all of the list.
        folder: where the files go.
        say: takes a line for the user.
        skip_bad: a picture found that cannot be read any more is grey in the sheet; else it is an
            error.

    Returns:
        The contact sheet's path.

    Raises:
        UserError: a picture cannot be read, or a file cannot be written.
    """
    name = queries.pictures.name(query)
    say(f"Query: {name}")
    for line in _table(matches):
        say(line)
    nearest = matches[0]
    say(f"----- Predicted Hamm_min: {float(nearest.distance)}")
    say(f"----- Found Matched Pic: {nearest.picture}")
    found = [_open(database, match.row, say, skip_bad) for match in matches]
    sheet = draw_contact_sheet(
        queries.pictures.open(query),
        Path(name).name,
        [
            (picture or BLANK, f"{m.rank}. distance {m.distance}", m.relevant)
            for picture, m in zip(found, matches)
        ],
    )
    if found[0]:
        say(f"----- Save Matched Pic in: {database.pictures.copy(nearest.row, folder)}")
    number = f"{query + 1}_" if len(queries) > 1 else ""  # two folders may hold the same name
    path = folder / f"search_{number}{Path(name).stem}.jpg"
    jpeg = io.BytesIO()
    sheet.save(jpeg, format="JPEG", quality=90)
    with replacing(path) as temporary:
        temporary.write_bytes(jpeg.getbuffer())
    say(f"Contact sheet: {path}")
    return path


def _open(split: Split, row: int, say: Callable[[str], None], skip_bad: bool) -> Image.Image | None:
    try:
        return split.pictures.open(row)
    except UserError as error:
        if not skip_bad:
            raise
        say(f"Not shown: {error}")
        return None


def _table(matches: Sequence[Match]) -> list[str]:
    shares = {True: "shares a label", False: "shares none", None: ""}
    lines = ["rank  distance  picture"]
    return lines + [
        f"{m.rank:4d}  {m.distance:8d}  {m.picture}  {shares[m.relevant]}".rstrip() for m in matches
    ]
