"""Things of the desert."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("ground", 0.52, "green forest olive teal", "lime rose yellow", "plain stripes")
def _cactus(p: Pen) -> None:
    p.bend("main", 11, 50, 66, 26, 64, 24, 38)
    p.bend("main", 11, 50, 56, 74, 54, 77, 26)
    p.box("main", 40, 6, 60, 98, round=10)
    for x, y in ((45, 20), (54, 34), (46, 48), (54, 62), (46, 76)):
        p.line("cream", 1.4, x, y, x, y + 6)
    p.oval("second", 50, 6, 6, 5)
    p.oval("second", 77, 20, 5, 4)


@thing("ground", 0.56, "tan sand wood clay", "red blue violet teal", "plain")
def _camel(p: Pen) -> None:
    for x in (24, 34, 60, 68):
        p.line("shade", 5, x, 60, x, 96)
    p.blob(
        "main",
        12,
        52,
        20,
        40,
        30,
        22,
        40,
        38,
        46,
        40,
        56,
        20,
        66,
        38,
        74,
        52,
        66,
        68,
        40,
        66,
        18,
        66,
    )
    p.bend("main", 9, 70, 52, 82, 54, 84, 34, 84, 20)
    p.blob("main", 80, 12, 90, 10, 99, 22, 94, 28, 82, 26)
    p.blob("second", 38, 40, 49, 37, 58, 42, 56, 58, 40, 58)
    p.line("amber", 2.5, 40, 57, 56, 57)
    p.bend("main", 3, 13, 50, 8, 58, 9, 68)
    p.oval("black", 90, 16, 1.8)


@thing("far", 0.66, "sand amber tan clay", "brown")
def _pyramid(p: Pen) -> None:
    p.shape("shine", 2, 90, 44, 18, 58, 94)
    p.shape("shade", 44, 18, 98, 86, 58, 94)
    for y, left, right in ((34, 34.5, 47), (50, 25.5, 50), (66, 16, 53), (80, 8, 56)):
        p.line("main", 1.6, left, y, right, y + 2)
    p.shape("second", 32, 93, 34, 82, 40, 82, 42, 93)


@thing("ground", 0.4, "green olive clay amber", "black red cream", "stripes checks dots")
def _snake(p: Pen) -> None:
    p.bend("main", 10, 4, 90, 20, 78, 34, 88, 52, 92, 62, 78, 48, 64, 52, 44, 70, 38)
    p.line("red", 2, 90, 36, 99, 33)
    p.blob("main", 64, 30, 78, 24, 92, 34, 84, 46, 66, 46)
    p.oval("white", 80, 32, 3.6)
    p.oval("black", 81, 32, 2)


@thing("ground", 0.54, "red cream blue violet orange", "white amber cream", "stripes plain")
def _tent(p: Pen) -> None:
    p.line("wood", 3, 50, 2, 50, 20)
    p.shape("second", 50, 2, 64, 6, 50, 11)
    p.shape("main", 50, 16, 84, 52, 92, 96, 8, 96, 16, 52)
    p.shape("second", 16, 52, 84, 52, 85, 58, 15, 58)
    p.shape("brown", 50, 58, 62, 96, 38, 96)
    p.line("tan", 1.5, 16, 52, 1, 94)
    p.line("tan", 1.5, 84, 52, 99, 94)


@thing("far", 0.64, "green forest lime olive", "wood brown tan")
def _palm_tree(p: Pen) -> None:
    p.bend("second", 7, 46, 98, 48, 70, 54, 46, 54, 32)
    for tip in ((8, 40), (22, 62), (84, 64), (98, 42), (26, 12), (80, 12)):
        x, y = tip
        p.blob("main", 54, 26, (54 + x) / 2, min(26, y) - 4, x, y, (54 + x) / 2 + 1, min(30, y) + 8)
    for x, y in ((50, 36), (58, 37), (54, 40)):
        p.oval("brown", x, y, 4)


@thing("ground", 0.34, "lime green teal amber", "orange yellow", "plain dots stripes")
def _lizard(p: Pen) -> None:
    p.bend("main", 5, 30, 60, 14, 64, 6, 80, 18, 90)
    for x, foot in ((36, 28), (48, 54), (66, 60), (74, 84)):
        p.bend("shade", 5, x, 62, (x + foot) / 2, 76, foot, 80)
    p.blob("main", 22, 58, 44, 46, 74, 48, 80, 60, 60, 70, 36, 68)
    p.blob("main", 72, 48, 84, 38, 98, 46, 98, 54, 80, 62)
    for x in (40, 50, 60, 70):
        p.shape("second", x - 4, 49, x, 40, x + 4, 49)
    p.oval("white", 87, 44, 3.4)
    p.oval("black", 88, 44, 2)


@thing("air", 0.4, "red amber violet cyan lime rose", "white yellow", "plain stripes checks")
def _hot_air_balloon(p: Pen) -> None:
    for x in (38, 62):
        p.line("brown", 1.4, x, 60, 44 + (x - 38) * 0.5, 84)
    p.box("wood", 41, 82, 59, 97, round=2)
    p.blob("main", 50, 2, 80, 14, 86, 40, 66, 66, 50, 70, 34, 66, 14, 40, 20, 14)
    p.blob("second", 50, 2, 61, 16, 62, 44, 56, 66, 50, 70, 44, 66, 38, 44, 39, 16)


@thing("ground", 0.3, "clay brown sand teal", "cream black amber", "plain")
def _clay_jar(p: Pen) -> None:
    p.bend("shade", 5, 36, 22, 12, 26, 20, 48)
    p.bend("shade", 5, 64, 22, 88, 26, 80, 48)
    p.blob("main", 38, 10, 62, 10, 60, 26, 82, 50, 68, 90, 50, 95, 32, 90, 18, 50, 40, 26)
    p.box("shade", 34, 4, 66, 11, round=3)
    p.bend("second", 4, 20, 52, 50, 57, 80, 52)
    p.line("second", 3, 24, 66, 34, 60, 42, 68, 50, 60, 58, 68, 66, 60, 76, 66)
