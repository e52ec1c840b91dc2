"""Things in the snow."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("ground", 0.52, "white", "red blue green violet")
def _snowman(p: Pen) -> None:
    p.line("brown", 2.5, 30, 48, 8, 34)
    p.line("brown", 2.5, 70, 48, 92, 36)
    p.oval("main", 50, 78, 26, 21)
    p.oval("main", 50, 50, 20, 18)
    p.oval("main", 50, 27, 14, 13)
    p.box("black", 40, 2, 60, 16)
    p.box("black", 33, 14, 67, 18, round=1)
    p.bend("second", 6, 37, 38, 50, 42, 63, 38)
    p.line("second", 5, 60, 40, 65, 56)
    p.shape("orange", 50, 26, 50, 31, 68, 30)
    for x, y in ((45, 23), (55, 23), (50, 52), (50, 61), (50, 75)):
        p.oval("black", x, y, 2.2)


@thing("far", 0.66, "forest green teal", "white")
def _fir_tree(p: Pen) -> None:
    p.box("brown", 45, 84, 55, 98)
    for top, half, bottom in ((46, 36, 88), (26, 29, 64), (6, 21, 40)):
        p.shape("main", 50, top - 4, 50 + half, bottom, 50 - half, bottom)
        p.shape(
            "second",
            50,
            top - 4,
            50 + half * 0.42,
            top + 14,
            50 + half * 0.1,
            top + 9,
            50 - half * 0.2,
            top + 15,
            50 - half * 0.42,
            top + 13,
        )


@thing("ground", 0.4, "red wood amber blue", "brown steel")
def _sled(p: Pen) -> None:
    p.bend("second", 5, 4, 84, 50, 85, 84, 84, 96, 72, 94, 58)
    for x in (22, 70):
        p.line("second", 4, x, 56, x, 84)
    for y in (46, 54):
        p.box("main", 6, y, 84, y + 7, round=3)
    p.bend("tan", 2, 84, 52, 94, 40, 88, 26)


@thing("ground", 0.32, "black navy slate", "orange amber")
def _penguin(p: Pen) -> None:
    p.oval("second", 38, 94, 12, 5)
    p.oval("second", 62, 94, 12, 5)
    p.blob("main", 26, 40, 12, 66, 22, 68, 32, 56)
    p.blob("main", 74, 40, 88, 66, 78, 68, 68, 56)
    p.blob("main", 50, 3, 70, 16, 78, 60, 66, 92, 34, 92, 22, 60, 30, 16)
    p.blob("white", 50, 34, 66, 50, 64, 84, 50, 90, 36, 84, 34, 50)
    p.oval("white", 42, 24, 8)
    p.oval("white", 58, 24, 8)
    p.oval("black", 43, 24, 3)
    p.oval("black", 57, 24, 3)
    p.shape("second", 43, 31, 57, 31, 50, 41)


@thing("ground", 0.52, "white glass sky", "slate navy")
def _igloo(p: Pen) -> None:
    p.blob("main", 2, 88, 6, 52, 28, 24, 56, 20, 84, 38, 96, 66, 97, 88)
    for y, left, right in ((70, 3, 97), (52, 8, 91), (36, 20, 80)):
        p.bend("shade", 1.6, left, y, 50, y - 3, right, y)
    for x, top, bottom in (
        (30, 36, 52),
        (58, 34, 51),
        (16, 52, 70),
        (44, 51, 69),
        (74, 50, 68),
        (88, 70, 86),
    ):
        p.line("shade", 1.6, x, top, x, bottom)
    p.blob("shade", 24, 89, 26, 62, 44, 54, 62, 62, 64, 89)
    p.blob("second", 31, 89, 33, 68, 44, 62, 55, 68, 57, 89)


@thing("ground", 0.5, "white cream", "grey")
def _polar_bear(p: Pen) -> None:
    for x in (18, 34, 62, 76):
        p.box("shade", x - 7, 56, x + 7, 92, round=5)
    p.blob("main", 6, 56, 14, 34, 44, 26, 72, 32, 84, 50, 74, 72, 40, 72, 12, 74)
    p.blob("main", 68, 34, 78, 22, 90, 28, 99, 42, 94, 50, 76, 54)
    p.oval("main", 76, 25, 5)
    p.oval("black", 97, 41, 3.4)
    p.oval("black", 87, 34, 2)
    p.oval("main", 6, 50, 5)


@thing("ground", 0.46, "red blue amber lime violet", "black navy")
def _skis(p: Pen) -> None:
    for x, lean in ((38, -6), (58, 6)):
        p.bend("main", 6, x - lean, 97, x, 50, x + lean, 16, x + lean * 2.4, 4)
        p.line("second", 8, x - lean * 0.2, 58, x + lean * 0.2, 48)
    for x, lean in ((18, 8), (80, -8)):
        p.line("slate", 2.5, x + lean, 22, x, 94)
        p.oval("second", x, 88, 6, 2.5)
        p.line("second", 4.5, x + lean, 20, x + lean * 0.85, 32)


@thing("far", 0.62, "wood brown clay", "lamp")
def _cabin(p: Pen) -> None:
    p.box("slate", 66, 10, 76, 40)
    p.box("white", 64, 8, 78, 14, round=2)
    p.box("main", 14, 50, 86, 96)
    p.shape("main", 14, 52, 50, 18, 86, 52)
    for y in range(56, 96, 8):
        p.line("shade", 1.4, 14, y, 86, y)
    p.shape("white", 2, 56, 50, 8, 98, 56, 90, 60, 50, 24, 10, 60)
    p.box("brown", 24, 66, 40, 96)
    p.box("second", 54, 62, 74, 78)
    p.line("brown", 2, 64, 62, 64, 78)
    p.line("brown", 2, 54, 70, 74, 70)


@thing("ground", 0.5, "brown tan wood", "cream sand")
def _deer(p: Pen) -> None:
    for x in (26, 36, 60, 68):
        p.line("shade", 4.5, x, 62, x, 97)
    p.blob("main", 16, 52, 44, 46, 72, 44, 74, 62, 50, 70, 22, 70)
    p.blob("main", 60, 54, 70, 30, 82, 30, 78, 58)
    p.blob("main", 68, 28, 80, 20, 99, 34, 94, 40, 76, 40)
    p.oval("second", 14, 54, 5)
    for points in (
        (74, 24, 66, 12, 68, 1),
        (66, 12, 56, 6),
        (80, 22, 86, 12, 84, 1),
        (86, 12, 96, 8),
    ):
        p.bend("second", 2.5, *points)
    p.oval("black", 98, 35, 2.6)
    p.oval("black", 83, 30, 1.8)
