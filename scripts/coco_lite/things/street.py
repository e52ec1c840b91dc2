"""Things of the street."""

from __future__ import annotations

from scripts.coco_lite.pen import Pen
from scripts.coco_lite.things.thing import thing


@thing("ground", 0.5, "red blue white amber teal black steel", "glass", "plain")
def _car(p: Pen) -> None:
    p.blob("shade", 22, 50, 32, 28, 50, 24, 68, 28, 82, 50)
    p.shape("second", 31, 48, 37, 31, 50, 31, 50, 48)
    p.shape("second", 54, 48, 54, 31, 65, 32, 74, 48)
    p.blob("main", 2, 62, 8, 50, 30, 46, 70, 46, 92, 50, 99, 60, 96, 76, 50, 77, 6, 76)
    for x in (24, 76):
        p.oval("black", x, 76, 11)
        p.oval("steel", x, 76, 5.5)
    p.oval("lamp", 94, 60, 4)
    p.oval("red", 5, 60, 3)
    p.line("shade", 1.5, 52, 50, 52, 72)


@thing("ground", 0.66, "red amber green blue", "white cream")
def _bus(p: Pen) -> None:
    p.box("main", 2, 26, 98, 78, round=7)
    p.box("second", 2, 58, 98, 65)
    for x in range(8, 74, 16):
        p.box("glass", x, 34, x + 12, 52, round=2)
    p.box("slate", 86, 34, 97, 62, round=2)
    for x in (24, 76):
        p.oval("black", x, 78, 10)
        p.oval("steel", x, 78, 5)
    p.oval("lamp", 96, 70, 3)


@thing("ground", 0.58, "white sand green orange steel", "red blue green slate", "plain stripes")
def _truck(p: Pen) -> None:
    p.box("main", 2, 18, 62, 72, round=2)
    p.blob("second", 65, 70, 65, 38, 80, 34, 90, 52, 98, 56, 98, 72)
    p.shape("glass", 72, 52, 72, 40, 80, 40, 87, 53)
    p.box("slate", 2, 70, 98, 76)
    for x in (18, 36, 82):
        p.oval("black", x, 78, 9)
        p.oval("steel", x, 78, 4)


@thing("far", 0.7, "cream clay sky rose white amber", "red brown slate maroon", "plain checks")
def _house(p: Pen) -> None:
    p.box("maroon", 68, 8, 77, 30)
    p.box("main", 14, 40, 86, 98)
    p.shape("second", 4, 42, 50, 6, 96, 42)
    p.box("brown", 42, 68, 58, 98)
    p.oval("amber", 55, 84, 1.6)
    for x in (20, 64):
        p.box("white", x, 50, x + 16, 66)
        p.box("glass", x + 2, 52, x + 14, 64)
        p.line("white", 1.5, x + 8, 52, x + 8, 64)
    p.oval("glass", 50, 28, 6)


@thing("ground", 0.62, "slate black forest", "lamp")
def _street_lamp(p: Pen) -> None:
    p.line("main", 4, 44, 10, 44, 96)
    p.box("main", 37, 88, 51, 98, round=2)
    p.bend("main", 3.5, 44, 18, 46, 6, 60, 4, 70, 10)
    p.shape("main", 60, 18, 80, 18, 74, 10, 66, 10)
    p.oval("second", 70, 19, 8, 5)


@thing("ground", 0.5, "black slate forest", "amber")
def _traffic_light(p: Pen) -> None:
    p.box("grey", 46, 54, 54, 98)
    p.box("main", 34, 4, 66, 60, round=7)
    for y, paint in ((15, "red"), (32, "amber"), (49, "green")):
        p.oval("black", 50, y, 9)
        p.oval(paint, 50, y, 7.5)
    p.oval("white", 47, 12, 2)


@thing("ground", 0.28, "red yellow blue", "steel white")
def _fire_hydrant(p: Pen) -> None:
    p.box("main", 32, 30, 68, 88, round=4)
    p.box("main", 18, 44, 82, 58, round=5)
    p.oval("main", 50, 28, 20, 16)
    p.box("shade", 26, 28, 74, 36, round=3)
    p.box("shade", 24, 86, 76, 97, round=3)
    p.oval("second", 50, 51, 9)
    p.oval("shade", 50, 9, 5)


@thing("ground", 0.42, "wood brown green", "slate black")
def _bench(p: Pen) -> None:
    for x in (16, 84):
        p.line("second", 5, x, 34, x, 88)
    for y in (36, 46):
        p.box("main", 4, y, 96, y + 7, round=2)
    p.shape("main", 6, 60, 94, 60, 99, 69, 1, 69)
    p.line("second", 5, 8, 70, 8, 92)
    p.line("second", 5, 92, 70, 92, 92)


@thing("ground", 0.22, "orange red", "white")
def _traffic_cone(p: Pen) -> None:
    p.box("shade", 10, 86, 90, 97, round=3)
    p.shape("main", 43, 4, 57, 4, 78, 88, 22, 88)
    p.shape("second", 38, 25, 62, 25, 67, 45, 33, 45)
    p.shape("second", 28, 62, 72, 62, 75, 74, 25, 74)
