"""Things on a kitchen table."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("ground", 0.3, "white red sky amber teal rose", "brown clay", "plain stripes dots")
def _cup(p: Pen) -> None:
    p.oval("main", 76, 50, 18, 19)
    p.oval("brown", 76, 50, 10, 11)
    p.blob("main", 12, 24, 74, 24, 72, 70, 62, 92, 26, 92, 15, 70)
    p.oval("shine", 43, 25, 31, 8)
    p.oval("second", 43, 26, 27, 6)


@thing("ground", 0.4, "blue white green cream clay", "red orange lime amber", "plain stripes dots")
def _bowl(p: Pen) -> None:
    for x, y in ((28, 32), (46, 25), (64, 28), (76, 35), (38, 36), (56, 37)):
        p.oval("second", x, y, 12)
    p.blob("main", 4, 42, 50, 46, 96, 42, 84, 74, 64, 86, 36, 86, 16, 74)
    p.bend("shine", 3, 5, 43, 50, 48, 95, 43)
    p.box("shade", 34, 84, 66, 92, round=3)


@thing("ground", 0.56, "forest green brown glass rose", "cream white amber")
def _bottle(p: Pen) -> None:
    p.box("tan", 45, 2, 55, 10, round=1)
    p.box("main", 43, 8, 57, 34)
    p.blob("main", 43, 26, 57, 26, 68, 44, 68, 94, 50, 98, 32, 94, 32, 44)
    p.box("second", 32, 54, 68, 80)
    p.oval("main", 50, 67, 9)
    p.line("shine", 3, 39, 46, 38, 52)


@thing("ground", 0.48, "black slate red", "brown wood black")
def _pan(p: Pen) -> None:
    p.line("second", 7, 62, 54, 97, 34)
    p.oval("shade", 36, 64, 34, 18)
    p.oval("main", 36, 60, 34, 17)
    p.oval("grey", 36, 60, 28, 13)
    p.blob("white", 16, 60, 30, 50, 48, 52, 56, 60, 46, 69, 28, 68)
    p.oval("amber", 37, 59, 9, 6)


@thing("ground", 0.38, "sky rose white cream teal violet", "amber red", "plain dots stripes")
def _teapot(p: Pen) -> None:
    p.bend("shade", 7, 74, 42, 94, 40, 94, 66, 74, 74)
    p.blob("shade", 26, 56, 12, 50, 2, 30, 12, 30, 20, 44, 30, 46)
    p.blob("main", 26, 42, 50, 34, 74, 42, 82, 66, 70, 88, 30, 88, 18, 66)
    p.blob("second", 34, 36, 50, 26, 66, 36, 50, 41)
    p.oval("second", 50, 23, 5)


@thing("ground", 0.22, "red lime maroon green", "green")
def _apple(p: Pen) -> None:
    p.blob("main", 50, 24, 72, 16, 94, 34, 88, 70, 66, 96, 50, 91, 34, 96, 12, 70, 6, 34, 28, 16)
    p.bend("brown", 4, 50, 26, 51, 14, 57, 4)
    p.blob("second", 56, 14, 72, 2, 86, 8, 72, 18)
    p.oval("white", 28, 38, 6, 9)


@thing("ground", 0.34, "yellow amber", "brown")
def _banana(p: Pen) -> None:
    p.blob(
        "main",
        6,
        38,
        14,
        34,
        34,
        58,
        62,
        62,
        86,
        38,
        88,
        24,
        95,
        26,
        97,
        44,
        78,
        74,
        46,
        82,
        16,
        64,
    )
    p.bend("shade", 2.5, 12, 42, 36, 68, 66, 68, 92, 36)
    p.box("second", 86, 18, 95, 27, round=2)


@thing("ground", 0.44, "pink cream brown white", "red rose amber", "plain dots stripes")
def _cake(p: Pen) -> None:
    p.oval("steel", 50, 88, 48, 9)
    p.box("main", 12, 44, 88, 86, round=6)
    p.blob(
        "white",
        10,
        40,
        50,
        34,
        90,
        40,
        89,
        56,
        80,
        50,
        70,
        60,
        58,
        51,
        46,
        60,
        34,
        51,
        22,
        59,
        11,
        54,
    )
    for x in (28, 50, 72):
        p.line("sky", 4, x, 22, x, 40)
        p.oval("amber", x, 14, 3.2, 6)
    p.line("second", 4, 15, 76, 85, 76)


@thing("air", 0.34, "red wood navy teal black", "white cream")
def _clock(p: Pen) -> None:
    p.oval("main", 50, 50, 47)
    p.oval("second", 50, 50, 38)
    for x, y in ((50, 17), (83, 50), (50, 83), (17, 50)):
        p.oval("slate", x, y, 3)
    p.line("black", 5, 50, 50, 50, 28)
    p.line("black", 4, 50, 50, 68, 60)
    p.oval("red", 50, 50, 4)
