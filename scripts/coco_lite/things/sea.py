"""Things on the sea and at its shore."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("ground", 0.55, "white red amber sky cream", "red blue white orange", "plain stripes")
def _sailboat(p: Pen) -> None:
    p.line("wood", 3, 50, 4, 50, 80)
    p.shape("main", 53, 6, 53, 70, 92, 70)
    p.shape("second", 47, 16, 47, 70, 16, 70)
    p.shape("red", 50, 2, 66, 5, 50, 9)
    p.blob("brown", 6, 76, 50, 78, 95, 75, 80, 94, 50, 97, 22, 94)
    p.line("cream", 2.5, 10, 80, 90, 80)


@thing("ground", 0.6, "navy red black slate", "red amber white")
def _steamship(p: Pen) -> None:
    p.oval("grey", 30, 16, 9, 6)
    p.oval("steel", 16, 10, 8, 5)
    p.box("second", 36, 20, 47, 46)
    p.box("black", 36, 20, 47, 26)
    p.box("second", 56, 24, 66, 46)
    p.box("black", 56, 24, 66, 30)
    p.box("white", 24, 44, 76, 60, round=2)
    p.box("cream", 16, 56, 86, 66)
    p.shape("main", 1, 64, 99, 62, 86, 88, 14, 88)
    p.line("second", 3, 12, 84, 88, 84)
    for x in range(30, 76, 9):
        p.oval("navy", x, 51, 2.6)
    for x in range(20, 84, 10):
        p.oval("white", x, 72, 2.4)


@thing("far", 0.75, "white cream", "red blue navy")
def _lighthouse(p: Pen) -> None:
    p.blob("slate", 16, 98, 22, 84, 40, 78, 62, 80, 80, 88, 84, 98)
    p.shape("main", 40, 28, 60, 28, 66, 88, 34, 88)
    p.shape("second", 38.7, 40, 61.3, 40, 63, 54, 37, 54)
    p.shape("second", 36, 66, 64, 66, 65.5, 80, 34.5, 80)
    p.box("slate", 35, 25, 65, 29)
    p.box("lamp", 42, 13, 58, 25)
    p.line("slate", 1.5, 50, 13, 50, 25)
    p.shape("second", 38, 13, 50, 2, 62, 13)


@thing("ground", 0.28, "red green yellow orange", "white black")
def _buoy(p: Pen) -> None:
    p.oval("lamp", 50, 12, 7)
    p.shape("main", 44, 18, 56, 18, 66, 70, 34, 70)
    p.shape("second", 40.5, 38, 59.5, 38, 62.5, 54, 37.5, 54)
    p.blob("slate", 14, 70, 50, 64, 86, 70, 78, 90, 50, 96, 22, 90)


@thing("ground", 0.5, "blue slate navy teal", "white cream")
def _whale(p: Pen) -> None:
    p.bend("glass", 4, 34, 34, 34, 18, 22, 12)
    p.bend("glass", 4, 34, 34, 36, 16, 48, 12)
    p.blob("main", 84, 58, 86, 34, 76, 22, 92, 28, 99, 18, 100, 34, 94, 44, 92, 70)
    p.blob("main", 4, 66, 12, 44, 36, 36, 66, 46, 90, 56, 84, 82, 50, 90, 14, 86)
    p.blob("second", 6, 72, 30, 78, 56, 76, 50, 90, 22, 90, 10, 84)
    p.oval("white", 22, 60, 4)
    p.oval("black", 21, 60, 2.4)
    p.blob("shade", 44, 76, 58, 76, 64, 96, 52, 92)


@thing("far", 0.5, "green forest olive", "sand tan", "plain dots")
def _island(p: Pen) -> None:
    p.blob("main", 18, 76, 26, 50, 42, 40, 58, 54, 74, 46, 86, 74)
    p.shape("slate", 34, 60, 44, 30, 52, 44, 60, 62)
    p.blob("main", 22, 80, 38, 56, 60, 62, 84, 80)
    p.blob("second", 2, 84, 20, 74, 50, 76, 80, 73, 98, 84, 50, 90)


@thing("ground", 0.36, "grey slate blue", "white")
def _dolphin(p: Pen) -> None:
    p.blob("main", 4, 92, 14, 74, 12, 60, 28, 68, 40, 66, 26, 82)
    p.blob("main", 20, 78, 32, 44, 58, 26, 80, 30, 98, 48, 90, 52, 74, 50, 52, 62, 34, 80)
    p.blob("second", 92, 51, 74, 48, 52, 58, 36, 76, 50, 52, 72, 42)
    p.shape("shade", 46, 36, 44, 12, 64, 30)
    p.shape("shade", 62, 50, 58, 74, 72, 50)
    p.oval("black", 82, 40, 2)


@thing("ground", 0.28, "yellow amber", "orange red")
def _rubber_duck(p: Pen) -> None:
    p.blob("main", 4, 48, 22, 56, 48, 54, 88, 56, 90, 84, 60, 96, 24, 92, 8, 72)
    p.oval("main", 66, 32, 24)
    p.blob("second", 84, 32, 100, 34, 98, 42, 84, 44)
    p.oval("white", 72, 26, 5)
    p.oval("black", 73.5, 26, 3)
    p.blob("shade", 22, 66, 44, 62, 58, 70, 46, 84, 28, 80)


@thing("ground", 0.42, "wood brown green blue", "cream white")
def _rowing_boat(p: Pen) -> None:
    p.line("tan", 3, 30, 30, 52, 60)
    p.line("tan", 3, 70, 30, 52, 60)
    p.blob("tan", 22, 18, 30, 24, 33, 36, 26, 32)
    p.blob("tan", 78, 18, 70, 24, 67, 36, 74, 32)
    p.blob("brown", 2, 50, 50, 58, 98, 50, 50, 64)
    p.blob("main", 2, 50, 26, 60, 74, 60, 98, 50, 86, 78, 50, 84, 14, 78)
    p.bend("second", 3, 8, 60, 50, 67, 92, 60)
