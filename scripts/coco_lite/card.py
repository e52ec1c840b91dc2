"""The card of the data set, `dataset.yaml`."""

from __future__ import annotations

from pathlib import Path

from scripts.coco_lite.things import CLASSES
from utils.system.files import replacing

_CARD = """\
# coco_lite: small enough to ship, in the layout of COCO 2014.
name: coco_lite
num_class: {count}
topK: 5000
data_path: datasets/coco_lite
lists:
  train: train.txt
  test: test.txt
  database: database.txt
provenance: >
  Drawn, not photographed: every picture was made by scripts/make_coco_lite.py from fixed seeds.
  Eight themes (sea, reef, street, kitchen, snow, meadow, desert, space) of one to four things
  each; a label says that the thing is in the picture. 128 training and 32 query pictures and a
  database of 160, the training pictures and 32 more; no query is in the database. The file
  names and the 80 label columns follow COCO 2014, the pictures and the classes are this
  project's own. It shows that everything runs and learns; it says nothing about COCO.
classes:
{classes}"""


def write_card(folder: Path) -> None:
    """Writes `dataset.yaml` into the folder.

    Raises:
        UserError: the file cannot be written.
    """
    classes = "".join(f"  - {name}\n" for name in CLASSES)
    with replacing(folder / "dataset.yaml") as path:
        path.write_bytes(_CARD.format(count=len(CLASSES), classes=classes).encode())
