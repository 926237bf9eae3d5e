#!/usr/bin/env python3
"""Draws a face for the demo: draw_person.py PERSON TAKE OUT.png

PERSON (a number) settles what the face is like, TAKE the light, the mouth and how it is held. Nobody's picture: a
few soft ovals, so that a fresh machine has something to find and to compare.
"""
import math
import random
import struct
import sys
import zlib

SIDE = 256


def write_png(path, rows):
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    raw = b"".join(b"\0" + bytes(row) for row in rows)
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def shade(colour, by):
    return [c * by for c in colour]


def layers(person, take):
    """Soft ovals from back to front: x, y, width, height (shares of the side), softness, colour, opacity."""
    p, t = random.Random(person), random.Random(person * 7919 + take)
    skin = shade([235, 180 + p.uniform(-12, 12), 150 + p.uniform(-15, 15)], p.uniform(0.45, 1.0))
    hair = shade(p.choice([[60, 40, 30], [25, 22, 20], [150, 105, 60], [120, 115, 110], [95, 45, 25]]), p.uniform(0.7, 1.2))
    eye = p.choice([[70, 45, 25], [60, 90, 110], [70, 95, 60]])
    dark, face_w, long = shade(skin, 0.42), p.uniform(0.185, 0.225), p.uniform(0.25, 0.285)
    gap, eye_y, mouth_y = p.uniform(0.078, 0.095), p.uniform(0.435, 0.455), p.uniform(0.625, 0.65)
    eye_w, brow, nose, lips = p.uniform(0.034, 0.044), p.uniform(0.008, 0.016), p.uniform(0.024, 0.036), p.uniform(0.065, 0.09)
    smile, look = t.uniform(0, 0.018), t.uniform(-0.008, 0.008)
    yield 0.5, 1.08, 0.46, 0.30, 0.1, shade(p.choice([[60, 80, 130], [130, 60, 60], [70, 70, 75], [60, 110, 80]]), 1), 1
    yield 0.5, 0.80, 0.10, 0.16, 0.2, shade(skin, 0.82), 1
    yield 0.5, 0.42, face_w * 1.22, long * 1.18, 0.12, hair, 1
    if p.random() < 0.5:
        yield 0.5, 0.56, face_w * 1.25, long * 1.25, 0.15, hair, 1
    for side in (-1, 1):
        yield 0.5 + side * face_w * 0.99, 0.50, 0.026, 0.05, 0.3, shade(skin, 0.85), 1
    yield 0.5, 0.52, face_w, long, 0.10, skin, 1
    yield 0.5, 0.31, face_w * 0.95, 0.085, 0.3, hair, 1
    for side in (-1, 1):
        x = 0.5 + side * gap
        yield x + side * 0.03, 0.57, 0.05, 0.045, 1.0, shade([235, 120, 110], skin[0] / 235), 0.35
        yield x, eye_y - 0.004, eye_w * 1.6, 0.036, 0.9, dark, 0.45
        yield x, eye_y - 0.050, eye_w * 1.35, brow, 0.5, shade(hair, 0.8), 0.95
        yield x, eye_y, eye_w, 0.0175, 0.25, [238, 236, 232], 1
        yield x + look, eye_y, 0.0165, 0.0165, 0.3, eye, 1
        yield x + look, eye_y, 0.008, 0.008, 0.4, [12, 10, 10], 1
        yield x + look + 0.005, eye_y - 0.005, 0.0035, 0.0035, 0.6, [255, 255, 255], 1
        yield x, eye_y - 0.016, eye_w * 1.05, 0.006, 0.7, shade(dark, 0.6), 0.9
    yield 0.5, 0.52, 0.014, 0.075, 1.0, shade(skin, 1.13), 0.7
    yield 0.5 + nose * 0.8, 0.52, 0.012, 0.07, 1.0, dark, 0.25
    yield 0.5, 0.575, nose * 1.4, 0.017, 0.9, dark, 0.55
    for side in (-1, 1):
        yield 0.5 + side * nose * 0.6, 0.577, 0.009, 0.006, 0.7, shade(dark, 0.5), 0.9
    yield 0.5, mouth_y, lips + smile, 0.022 + smile / 2, 0.5, shade([190, 90, 90], 0.4 + 0.6 * skin[0] / 235), 1
    yield 0.5, mouth_y - 0.002, lips + smile - 0.012, 0.004 + smile * 0.7, 0.5, [235, 230, 225] if smile > 0.009 else shade(dark, 0.6), 0.9
    yield 0.5, mouth_y + 0.036, lips * 0.6, 0.010, 1.0, dark, 0.35


def draw(person, take):
    t = random.Random(person * 104729 + take)
    turn, grow, dx, dy = t.uniform(-0.1, 0.1), t.uniform(0.95, 1.08), t.uniform(-0.03, 0.03), t.uniform(-0.02, 0.02)
    angle, strength, grain = t.uniform(0, 6.28), t.uniform(0.05, 0.35), t.uniform(2, 6)
    wall = [t.uniform(120, 210) for _ in range(3)]
    c, s = math.cos(turn) / grow, math.sin(turn) / grow
    shapes, rows = list(layers(person, take)), []
    for row in range(SIDE):
        line = bytearray()
        for column in range(SIDE):
            u, v = (column + 0.5) / SIDE - 0.5 - dx, (row + 0.5) / SIDE - 0.5 - dy
            x, y = 0.5 + c * u + s * v, 0.5 - s * u + c * v
            colour = wall
            for at_x, at_y, w, h, soft, paint, opacity in shapes:
                a, b = (x - at_x) / w, (y - at_y) / h
                if -1.6 < a < 1.6 and -1.6 < b < 1.6:
                    inside = min(1, max(0, (1 - math.hypot(a, b)) / soft + 0.5)) * opacity
                    if inside > 0:
                        colour = [k + (q - k) * inside for k, q in zip(colour, paint)]
            light = 1 + strength * (u * math.cos(angle) + v * math.sin(angle)) * 2
            noise = t.gauss(0, grain)
            line += bytes(min(255, max(0, int(k * light + noise))) for k in colour)
        rows.append(line)
    return rows


if len(sys.argv) != 4:
    sys.exit(__doc__)
write_png(sys.argv[3], draw(int(sys.argv[1]), int(sys.argv[2])))
