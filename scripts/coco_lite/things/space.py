"""Things among the stars."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("free", 0.52, "white steel red amber cream", "red blue orange violet", "plain checks")
def _rocket(p: Pen) -> None:
    p.blob("orange", 40, 80, 60, 80, 56, 92, 50, 100, 44, 92)
    p.blob("yellow", 45, 80, 55, 80, 50, 92)
    p.blob("second", 36, 54, 20, 72, 20, 88, 38, 78)
    p.blob("second", 64, 54, 80, 72, 80, 88, 62, 78)
    p.blob("main", 50, 2, 64, 24, 66, 60, 60, 82, 40, 82, 34, 60, 36, 24)
    p.blob("second", 50, 2, 60, 15, 61, 22, 50, 24, 39, 22, 40, 15)
    p.oval("slate", 50, 40, 9)
    p.oval("glass", 50, 40, 6.5)


@thing("free", 0.5, "amber clay cyan lilac rose green", "cream sand pink", "plain stripes")
def _planet(p: Pen) -> None:
    p.bend("second", 5, 26, 46, 3, 66, 30, 68, 74, 46, 97, 30, 76, 36)
    p.oval("main", 50, 50, 30)
    p.bend("second", 5, 4, 64, 14, 70, 40, 64, 74, 46, 92, 34)
    p.oval("shade", 40, 36, 6, 4)


@thing("free", 0.42, "blue navy teal", "steel amber white")
def _satellite(p: Pen) -> None:
    p.line("steel", 3, 10, 50, 90, 50)
    for x in (2, 66):
        p.box("main", x, 34, x + 32, 66)
        for line in (x + 8, x + 16, x + 24):
            p.line("sky", 1, line, 35, line, 65)
        p.line("sky", 1, x, 50, x + 32, 50)
    p.box("second", 38, 34, 62, 68, round=3)
    p.line("steel", 2.5, 50, 34, 50, 18)
    p.blob("white", 36, 12, 50, 24, 64, 12, 50, 18)
    p.oval("red", 50, 12, 3)


@thing("free", 0.42, "steel lilac green slate", "lime cyan pink")
def _flying_saucer(p: Pen) -> None:
    p.blob("second", 28, 48, 34, 24, 50, 16, 66, 24, 72, 48)
    p.oval("lime", 50, 38, 8, 10)
    p.oval("black", 47, 36, 2)
    p.oval("black", 53, 36, 2)
    p.oval("shade", 50, 62, 36, 14)
    p.oval("main", 50, 54, 48, 14)
    for x in (14, 32, 50, 68, 86):
        p.oval("lamp", x, 56 + (50 - abs(x - 50)) * 0.1, 4)


@thing("free", 0.22, "yellow amber white", "orange")
def _star(p: Pen) -> None:
    p.shape("main", 50, 2, 62, 36, 98, 38, 69, 60, 80, 96, 50, 75, 20, 96, 31, 60, 2, 38, 38, 36)
    p.oval("second", 42, 48, 3.2)
    p.oval("second", 58, 48, 3.2)
    p.bend("second", 2.5, 42, 58, 50, 64, 58, 58)


@thing("free", 0.46, "cyan amber white sky", "orange yellow lilac")
def _comet(p: Pen) -> None:
    p.shape("second", 74, 58, 4, 4, 90, 74)
    p.shape("second", 66, 72, 2, 34, 80, 88)
    p.shape("second", 84, 62, 40, 6, 92, 78)
    p.shape("shine", 72, 66, 20, 24, 84, 78)
    p.oval("main", 80, 76, 17)
    p.oval("shine", 75, 70, 6)


@thing("ground", 0.44, "steel teal amber red", "cyan lime lamp")
def _robot(p: Pen) -> None:
    p.line("slate", 3, 50, 12, 50, 4)
    p.oval("red", 50, 5, 4)
    for x in (38, 62):
        p.line("slate", 7, x, 74, x, 92)
        p.box("main", x - 9, 88, x + 9, 98, round=3)
    p.bend("slate", 6, 28, 48, 14, 56, 12, 72)
    p.bend("slate", 6, 72, 48, 86, 56, 88, 72)
    p.box("main", 28, 42, 72, 78, round=5)
    p.box("main", 30, 11, 70, 39, round=6)
    p.box("slate", 35, 17, 65, 33, round=4)
    p.oval("second", 43, 25, 4.5)
    p.oval("second", 57, 25, 4.5)
    p.box("second", 38, 50, 62, 64, round=2)


@thing("ground", 0.44, "white steel cream", "amber navy glass")
def _astronaut(p: Pen) -> None:
    p.box("slate", 28, 34, 72, 66, round=6)
    for x in (41, 59):
        p.line("main", 13, x, 68, x, 88)
        p.box("slate", x - 9, 88, x + 8, 97, round=3)
    p.bend("main", 11, 36, 44, 20, 56, 18, 68)
    p.bend("main", 11, 64, 44, 82, 40, 86, 26)
    p.box("main", 32, 36, 68, 76, round=9)
    p.oval("main", 50, 22, 20)
    p.oval("navy", 51, 22, 14, 12)
    p.oval("second", 46, 18, 5, 4)
    p.box("red", 42, 50, 48, 55)
    p.box("blue", 51, 50, 58, 55)


@thing("ground", 0.42, "white steel amber", "blue navy black")
def _rover(p: Pen) -> None:
    p.line("slate", 3, 70, 46, 70, 20)
    p.box("steel", 60, 12, 84, 24, round=3)
    p.oval("black", 78, 18, 3.4)
    p.bend("slate", 3, 24, 46, 16, 26, 26, 14)
    p.oval("white", 28, 14, 11, 5)
    p.box("main", 12, 50, 88, 68, round=4)
    p.shape("second", 6, 44, 60, 44, 64, 51, 2, 51)
    for x in (18, 50, 82):
        p.oval("black", x, 78, 13)
        p.oval("grey", x, 78, 6)
