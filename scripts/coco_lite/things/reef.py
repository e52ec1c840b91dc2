"""Things under water."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing(
    "free", 0.34, "orange yellow blue violet rose lime", "white amber cyan", "plain stripes dots"
)
def _fish(p: Pen) -> None:
    p.blob("second", 4, 26, 22, 40, 30, 50, 22, 60, 4, 76, 12, 50)
    p.blob("second", 44, 34, 50, 12, 72, 26, 70, 38)
    p.blob("second", 46, 66, 48, 86, 64, 72)
    p.blob("main", 20, 50, 44, 28, 74, 28, 97, 48, 76, 70, 44, 72)
    p.bend("second", 4, 72, 32, 66, 50, 72, 68)
    p.oval("white", 83, 43, 6)
    p.oval("black", 84, 43, 3.4)


@thing("free", 0.36, "lilac pink cyan rose", "white pink sky")
def _jellyfish(p: Pen) -> None:
    for x in (24, 37, 50, 63, 76):
        p.bend("second", 3, x, 44, x - 6, 58, x + 5, 72, x - 4, 84, x + 3, 97)
    p.blob("main", 8, 46, 16, 18, 50, 4, 84, 18, 92, 46, 76, 42, 62, 48, 50, 42, 36, 48, 24, 42)
    p.oval("shine", 38, 22, 14, 8)


@thing("free", 0.4, "rose violet orange maroon", "white", "plain dots")
def _octopus(p: Pen) -> None:
    for x, foot in ((22, 4), (32, 18), (43, 36), (57, 64), (68, 82), (78, 96)):
        p.bend("main", 9, 34 + x * 0.32, 52, x, 72, foot, 84, foot + (8 if foot < 50 else -8), 94)
    p.blob("main", 26, 34, 34, 8, 66, 8, 74, 34, 68, 60, 32, 60)
    for x in (41, 59):
        p.oval("white", x, 40, 7)
        p.oval("black", x, 42, 3.5)


@thing("ground", 0.32, "red orange clay", "white")
def _crab(p: Pen) -> None:
    for side in (-1, 1):
        for reach, foot in ((44, 66), (42, 80), (34, 90)):
            p.bend(
                "shade",
                4,
                50 + side * 18,
                62,
                50 + side * (reach - 6),
                foot - 18,
                50 + side * reach,
                foot,
            )
        p.bend("main", 6, 50 + side * 24, 54, 50 + side * 40, 44, 50 + side * 38, 30)
        p.blob(
            "main",
            50 + side * 30,
            32,
            50 + side * 28,
            10,
            50 + side * 40,
            20,
            50 + side * 49,
            8,
            50 + side * 48,
            32,
            50 + side * 38,
            36,
        )
        p.line("shade", 3, 50 + side * 9, 50, 50 + side * 10, 34)
        p.oval("white", 50 + side * 10, 33, 5)
        p.oval("black", 50 + side * 10, 33, 2.5)
    p.oval("main", 50, 62, 28, 20)
    p.bend("shade", 2.5, 38, 68, 50, 74, 62, 68)


@thing("ground", 0.24, "orange red rose amber", "cream", "plain dots")
def _starfish(p: Pen) -> None:
    p.blob("main", 50, 2, 62, 36, 98, 38, 70, 60, 80, 96, 50, 76, 20, 96, 30, 60, 2, 38, 38, 36)
    for x, y in ((50, 22), (76, 44), (68, 78), (32, 78), (24, 44), (50, 52)):
        p.oval("second", x, y, 4)


@thing("ground", 0.5, "green forest olive lime", "green teal")
def _seaweed(p: Pen) -> None:
    for x, top, paint in (
        (30, 26, "second"),
        (66, 16, "second"),
        (48, 2, "main"),
        (80, 44, "main"),
        (14, 50, "main"),
    ):
        middle = (top + 98) / 2
        p.bend(
            paint,
            8,
            x,
            98,
            x - 7,
            (middle + 98) / 2,
            x + 6,
            middle,
            x - 5,
            (middle + top) / 2,
            x + 3,
            top,
        )


@thing("ground", 0.22, "pink cream sand lilac", "rose tan")
def _shell(p: Pen) -> None:
    p.blob("main", 50, 92, 12, 64, 4, 36, 24, 16, 50, 8, 76, 16, 96, 36, 88, 64)
    for x, y in ((14, 36), (30, 20), (50, 14), (70, 20), (86, 36)):
        p.line("second", 3, 50, 86, x, y)
    p.shape("second", 36, 82, 64, 82, 72, 98, 28, 98)


@thing("free", 0.42, "green olive teal", "lime sand", "plain checks dots")
def _turtle(p: Pen) -> None:
    p.blob("second", 70, 56, 88, 66, 92, 88, 74, 74)
    p.blob("second", 30, 62, 20, 86, 34, 88, 44, 66)
    p.blob("second", 4, 62, 16, 54, 20, 64)
    p.blob("second", 78, 44, 90, 34, 100, 42, 94, 54, 80, 58)
    p.blob("main", 12, 58, 26, 30, 52, 20, 76, 34, 86, 58, 50, 68)
    p.bend("shade", 4, 12, 59, 50, 68, 86, 59)
    p.oval("black", 93, 43, 2.4)


@thing("ground", 0.36, "wood brown clay", "amber yellow")
def _treasure_chest(p: Pen) -> None:
    p.blob("shade", 8, 44, 10, 20, 50, 8, 90, 20, 92, 44)
    for x, y in ((22, 42), (36, 38), (50, 35), (64, 38), (78, 42), (58, 42), (42, 43)):
        p.oval("yellow", x, y, 8)
    p.oval("red", 30, 36, 5)
    p.oval("cyan", 69, 35, 5)
    p.box("main", 8, 46, 92, 92, round=4)
    for x in (16, 78):
        p.box("second", x, 46, x + 7, 92)
    p.box("second", 42, 48, 58, 66, round=3)
    p.oval("black", 50, 57, 3.5)
