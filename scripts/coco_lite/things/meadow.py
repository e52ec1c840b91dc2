"""Things of the meadow and the farm."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("ground", 0.46, "white cream", "black brown clay")
def _cow(p: Pen) -> None:
    p.bend("main", 3, 12, 38, 4, 50, 6, 66)
    for x in (20, 32, 62, 73):
        p.box("main", x - 4, 60, x + 4, 92)
        p.box("slate", x - 4, 88, x + 4, 94)
    p.blob("main", 10, 42, 20, 32, 70, 32, 80, 44, 76, 66, 50, 72, 14, 68)
    p.blob("second", 22, 33, 40, 34, 42, 50, 28, 56, 20, 46)
    p.blob("second", 54, 50, 68, 46, 72, 60, 58, 66)
    p.oval("pink", 46, 71, 7, 5)
    p.blob("second", 72, 26, 94, 26, 94, 48, 84, 56, 74, 46)
    p.blob("main", 80, 26, 87, 26, 88, 46, 80, 46)
    p.oval("pink", 84, 53, 10, 7)
    p.shape("cream", 74, 26, 70, 14, 79, 24)
    p.shape("cream", 92, 26, 96, 14, 87, 24)
    p.oval("black", 77, 36, 2)
    p.oval("black", 91, 36, 2)


@thing("ground", 0.36, "white cream grey", "black brown tan")
def _sheep(p: Pen) -> None:
    for x in (28, 40, 60, 70):
        p.line("second", 6, x, 66, x, 92)
    for x, y in (
        (18, 52),
        (28, 38),
        (44, 32),
        (60, 34),
        (72, 44),
        (70, 60),
        (54, 66),
        (36, 66),
        (22, 62),
    ):
        p.oval("main", x, y, 14)
    p.oval("main", 46, 50, 26, 20)
    p.blob("second", 74, 34, 90, 34, 96, 52, 88, 62, 78, 54)
    p.oval("second", 73, 38, 7, 4)
    p.oval("white", 87, 42, 2.6)
    p.oval("main", 80, 32, 9, 7)


@thing("far", 0.66, "red maroon clay", "white cream", "plain stripes")
def _barn(p: Pen) -> None:
    p.shape("main", 8, 96, 8, 50, 20, 26, 50, 10, 80, 26, 92, 50, 92, 96)
    p.line("slate", 5, 4, 54, 20, 26, 50, 9, 80, 26, 96, 54)
    p.box("second", 34, 60, 66, 96)
    p.box("shade", 37, 63, 63, 96)
    p.line("second", 2.5, 37, 63, 63, 96)
    p.line("second", 2.5, 63, 63, 37, 96)
    p.box("second", 42, 30, 58, 46)
    p.box("slate", 44, 32, 56, 44)


@thing("ground", 0.5, "white wood brown", "white")
def _fence(p: Pen) -> None:
    for y in (52, 74):
        p.box("shade", 1, y, 99, y + 6)
    for x in (6, 26, 46, 66, 86):
        p.shape("main", x, 94, x, 42, x + 5, 34, x + 10, 42, x + 10, 94)


@thing("ground", 0.3, "red yellow white violet pink orange", "amber brown")
def _flower(p: Pen) -> None:
    p.bend("green", 4, 50, 40, 46, 70, 50, 98)
    p.blob("green", 48, 80, 62, 62, 80, 62, 66, 78)
    p.blob("green", 48, 88, 34, 70, 18, 72, 32, 86)
    for x, y in ((50, 10), (70, 20), (72, 42), (50, 52), (28, 42), (30, 20)):
        p.oval("main", x, y, 12)
    p.oval("second", 50, 31, 12)


@thing("ground", 0.54, "red green blue amber", "yellow amber")
def _tractor(p: Pen) -> None:
    p.line("slate", 4, 78, 22, 78, 46)
    p.box("slate", 26, 16, 60, 22, round=2)
    p.box("main", 28, 20, 33, 56)
    p.box("glass", 33, 22, 56, 46)
    p.box("main", 52, 20, 57, 56)
    p.blob("main", 20, 50, 56, 46, 92, 46, 95, 70, 50, 74, 22, 72)
    p.oval("black", 30, 70, 25)
    p.oval("second", 30, 70, 13)
    p.oval("slate", 30, 70, 4)
    p.oval("black", 82, 80, 15)
    p.oval("second", 82, 80, 8)


@thing("far", 0.74, "white cream clay", "wood brown red")
def _windmill(p: Pen) -> None:
    p.shape("main", 40, 40, 60, 40, 70, 98, 30, 98)
    p.blob("second", 37, 42, 42, 30, 50, 26, 58, 30, 63, 42)
    p.box("brown", 44, 80, 56, 98, round=4)
    p.box("glass", 46, 56, 54, 66)
    for dx, dy in ((30, 26), (-26, 30), (-30, -26), (26, -30)):
        x, y = 50 + dx * 1.15, 36 + dy * 1.15
        p.line("brown", 2, 50, 36, x, y)
        p.shape(
            "second",
            50 + dx * 0.25,
            36 + dy * 0.25,
            x,
            y,
            x - dy * 0.3,
            y + dx * 0.3,
            50 + dx * 0.25 - dy * 0.3,
            36 + dy * 0.25 + dx * 0.3,
        )
    p.oval("slate", 50, 36, 4)


@thing("ground", 0.34, "amber yellow sand", "tan wood")
def _haystack(p: Pen) -> None:
    p.blob("main", 4, 92, 12, 54, 34, 24, 50, 14, 66, 24, 88, 54, 96, 92, 50, 96)
    for x, y in ((30, 44), (48, 30), (64, 46), (22, 70), (42, 62), (60, 74), (78, 68), (36, 84)):
        p.line("second", 2.5, x, y, x + 6, y + 12)
        p.line("shine", 2, x + 8, y - 2, x + 4, y + 9)


@thing("air", 0.2, "orange sky violet yellow rose white", "black brown", "plain dots")
def _butterfly(p: Pen) -> None:
    for side in (-1, 1):
        p.blob("second", 50, 46, 50 + side * 24, 6, 50 + side * 49, 8, 50 + side * 44, 44, 50, 56)
        p.blob(
            "main",
            50 + side * 5,
            46,
            50 + side * 25,
            12,
            50 + side * 44,
            14,
            50 + side * 38,
            42,
            50,
            54,
        )
        p.blob("main", 50, 52, 50 + side * 34, 54, 50 + side * 38, 80, 50 + side * 18, 92)
        p.oval("second", 50 + side * 24, 70, 5)
        p.bend("second", 2, 50, 26, 50 + side * 5, 14, 50 + side * 14, 6)
    p.oval("second", 50, 50, 5, 28)
