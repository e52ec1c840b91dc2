"""Things at home in several themes; people are the commonest, as in COCO."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing(
    "ground",
    0.5,
    "red blue green amber violet white",
    "skin skin tan wood",
    "plain stripes",
)
def _person(p: Pen) -> None:
    p.line("slate", 8, 45, 58, 42, 94)
    p.line("slate", 8, 55, 58, 58, 94)
    p.line("main", 7, 38, 34, 27, 56)
    p.line("main", 7, 62, 34, 76, 50)
    p.oval("second", 26, 59, 4)
    p.oval("second", 78, 48, 4)
    p.box("main", 36, 28, 64, 66, round=8)
    p.oval("second", 50, 16, 11, 12)
    p.blob("brown", 38, 16, 40, 4, 51, 1, 61, 6, 62, 14, 52, 9)
    p.oval("black", 47, 16, 1.4)
    p.oval("black", 55, 16, 1.4)
    p.bend("maroon", 1.4, 47, 21, 51, 23, 55, 21)


@thing("ground", 0.34, "brown tan wood black white cream", "red blue", "plain dots")
def _dog(p: Pen) -> None:
    p.bend("main", 6, 22, 48, 10, 40, 8, 24)
    for x in (26, 36, 64, 73):
        p.line("shade", 8, x, 62, x, 88)
    p.blob("main", 18, 46, 46, 42, 76, 42, 80, 58, 66, 68, 40, 64, 22, 68)
    p.line("second", 6, 68, 44, 82, 48)
    p.blob("main", 66, 34, 72, 18, 88, 20, 99, 34, 94, 42, 78, 46)
    p.blob("shade", 68, 20, 76, 20, 74, 40, 66, 42)
    p.oval("black", 97, 33, 4)
    p.oval("black", 84, 28, 2.5)


@thing("ground", 0.3, "black orange grey cream white", "green amber", "plain stripes")
def _cat(p: Pen) -> None:
    p.bend("main", 7, 70, 84, 92, 80, 90, 54, 80, 46)
    p.blob("main", 34, 42, 62, 42, 76, 74, 70, 96, 28, 96, 24, 72)
    p.shape("main", 28, 4, 46, 18, 26, 30)
    p.shape("main", 72, 4, 54, 18, 74, 30)
    p.oval("main", 50, 30, 24, 20)
    for x in (41, 59):
        p.oval("second", x, 28, 5, 6)
        p.oval("black", x, 28, 1.8, 5)
    p.shape("pink", 46, 36, 54, 36, 50, 41)
    p.line("shine", 5, 42, 74, 42, 92)
    p.line("shine", 5, 58, 74, 58, 92)


@thing("air", 0.2, "white black blue red slate", "orange amber")
def _bird(p: Pen) -> None:
    p.shape("shade", 18, 58, 2, 52, 4, 70)
    p.blob("main", 14, 62, 36, 50, 68, 48, 84, 54, 70, 70, 38, 74)
    p.shape("second", 88, 50, 100, 56, 88, 60)
    p.oval("main", 80, 52, 11)
    p.blob("shade", 38, 58, 28, 26, 34, 6, 52, 30, 64, 56)
    p.oval("black", 84, 49, 2.5)


@thing("far", 0.66, "green forest olive lime", "brown wood", "plain dots")
def _tree(p: Pen) -> None:
    p.shape("second", 44, 56, 56, 56, 62, 98, 38, 98)
    p.line("second", 4, 50, 62, 70, 44)
    p.oval("shade", 32, 46, 20)
    p.oval("shade", 70, 46, 20)
    p.oval("main", 50, 38, 27)
    p.oval("main", 38, 24, 18)
    p.oval("main", 63, 25, 18)
    p.oval("shine", 46, 20, 9)


@thing("ground", 0.2, "red blue yellow green violet", "white amber cyan")
def _ball(p: Pen) -> None:
    p.oval("main", 50, 50, 46)
    p.blob("second", 50, 4, 68, 28, 68, 72, 50, 96, 32, 72, 32, 28)
    p.blob("main", 50, 6, 56, 30, 56, 70, 50, 94, 44, 70, 44, 30)
    p.oval("white", 34, 26, 7)


@thing("ground", 0.42, "red blue green black amber", "black brown")
def _bicycle(p: Pen) -> None:
    for x in (22, 78):
        p.oval("black", x, 66, 21)
        p.oval("steel", x, 66, 17.5)
        for dx, dy in ((17, 0), (12, 12), (0, 17), (-12, 12)):
            p.line("slate", 1, x - dx, 66 - dy, x + dx, 66 + dy)
    p.line("main", 5, 22, 66, 38, 38, 68, 38, 48, 66, 22, 66)
    p.line("main", 5, 34, 30, 48, 66)
    p.line("main", 5, 64, 24, 78, 66)
    p.line("second", 5, 26, 29, 42, 29)
    p.line("second", 4, 64, 24, 76, 22)
    p.oval("slate", 48, 66, 5)


@thing("ground", 0.44, "red blue yellow violet teal rose", "white cream", "plain dots stripes")
def _umbrella(p: Pen) -> None:
    p.line("slate", 3, 50, 8, 50, 88)
    p.bend("slate", 3, 50, 88, 56, 96, 63, 88)
    p.blob("main", 4, 46, 14, 24, 50, 8, 86, 24, 96, 46, 80, 40, 66, 47, 50, 40, 34, 47, 20, 40)
    p.blob("second", 50, 8, 62, 24, 66, 47, 50, 40, 34, 47, 38, 24)
