"""Drawn faces: pictures to calibrate on where there are no photos.

Each is an oval of skin with eyes, brows, nose, mouth, hair and background, lit from a side, blurred
and with noise, all by chance from a fixed seed; of four, one has hard contrast, one coarse grain, and
one patches of light and shade, because photos reach further than drawings. They are no people; what they share with photos of
faces is where light and dark lie in an aligned crop, which is what the ranges of a network's
activations depend on.
"""
from __future__ import annotations

from typing import Iterator

import numpy as np

SIDE = 160


def _blurred(picture: np.ndarray, times: int) -> np.ndarray:
    for _ in range(times):
        picture = (picture + np.roll(picture, 1, 0) + np.roll(picture, -1, 0)) / 3
        picture = (picture + np.roll(picture, 1, 1) + np.roll(picture, -1, 1)) / 3
    return picture


def _oval(x: np.ndarray, y: np.ndarray, at: tuple, radii: tuple, soft: float = 0.15) -> np.ndarray:
    """1 inside, 0 outside, with a soft border."""
    distance = np.sqrt(((x - at[0]) / radii[0]) ** 2 + ((y - at[1]) / radii[1]) ** 2)
    return np.clip((1 - distance) / soft + 0.5, 0, 1)[..., None]


def _paint(canvas: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return canvas * (1 - mask) + colour * mask


def _texture(random: np.random.Generator, cells: int) -> np.ndarray:
    """Smooth noise, about -1..1."""
    coarse = random.normal(0, 0.5, (cells, cells))
    at = np.linspace(0, cells - 1, SIDE)
    rows = np.array([np.interp(at, np.arange(cells), row) for row in coarse])
    return np.array([np.interp(at, np.arange(cells), column) for column in rows.T]).T[..., None]


def _draw(random: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    jitter = random.normal(0, 0.012, 12)
    tone = random.uniform(0.25, 0.95)
    skin = np.array([0.95, 0.72, 0.60]) * tone + random.normal(0, 0.03, 3)
    dark = skin * random.uniform(0.15, 0.45)
    canvas = np.ones((SIDE, SIDE, 3)) * random.uniform(0, 1, 3) + 0.2 * _texture(random, 6)
    canvas = _paint(canvas, _oval(x, y, (0.5, 0.36), (0.50, 0.50)), dark * random.uniform(0.3, 1.6))
    canvas = _paint(canvas, _oval(x, y, (0.5, 0.58), (0.37 + jitter[0], 0.53)), skin)
    eye_y, mouth_y = 0.46 + jitter[1], 0.82 + jitter[2]
    for side, shift in ((0.345, jitter[3]), (0.655, jitter[4])):
        canvas = _paint(canvas, _oval(x, y, (side, eye_y - 0.01), (0.12, 0.075), 0.6) * 0.4, dark)
        canvas = _paint(canvas, _oval(x, y, (side, eye_y - 0.10), (0.11, 0.022), 0.5), dark * 0.8)
        canvas = _paint(canvas, _oval(x, y, (side, eye_y), (0.075, 0.030)), np.full(3, 0.85) * tone)
        canvas = _paint(canvas, _oval(x, y, (side + shift, eye_y), (0.030, 0.030)), dark * 0.3)
    canvas = _paint(canvas, _oval(x, y, (0.5 + jitter[5], 0.60), (0.035, 0.11), 0.9) * 0.5, skin * 1.15)
    canvas = _paint(canvas, _oval(x, y, (0.5 + jitter[5], 0.665), (0.09, 0.03), 0.8) * 0.6, dark)
    lips = skin * np.array([0.95, 0.55, 0.55])
    open_by = abs(random.normal(0, 0.02))
    canvas = _paint(canvas, _oval(x, y, (0.5, mouth_y), (0.15 + jitter[6], 0.035 + open_by)), lips)
    canvas = _paint(canvas, _oval(x, y, (0.5, mouth_y), (0.13, 0.008 + open_by / 2)), dark * 0.6)
    if random.random() < 0.3:
        beard = _oval(x, y, (0.5, 0.92), (0.33, 0.22), 0.5) * (1 - _oval(x, y, (0.5, 0.8), (0.2, 0.07)))
        canvas = _paint(canvas, beard * random.uniform(0.3, 0.9), dark * 0.8)
    angle = random.uniform(0, 2 * np.pi)
    light = 1 + random.uniform(0, 0.5) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    canvas = canvas * light[..., None] * random.uniform(0.6, 1.2) + 0.06 * _texture(random, 16)
    canvas = _blurred(canvas, int(random.integers(1, 4)))
    canvas += random.normal(0, random.uniform(0.005, 0.03), canvas.shape)
    return (np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def _disturbed(face: np.ndarray, kind: int, random: np.random.Generator) -> np.ndarray:
    picture = face / 255
    if kind == 1:
        picture = (picture - picture.mean()) * random.uniform(1.3, 2.2) + random.uniform(0.35, 0.65)
    elif kind == 2:
        picture = picture + random.normal(0, random.uniform(0.05, 0.2), picture.shape)
    elif kind == 3:
        for _ in range(6):
            x, y = random.integers(0, SIDE - 20, 2)
            w, h = random.integers(8, 50, 2)
            patch = picture[y:y + h, x:x + w]
            patch[...] = patch * random.uniform(0.2, 0.8) + random.uniform(0, 0.5, 3)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def draw_faces(count: int) -> Iterator[np.ndarray]:
    """`count` crops (160, 160, 3) of uint8, RGB, always the same."""
    random = np.random.default_rng(20260)
    for number in range(count):
        yield _disturbed(_draw(random), number % 4, random)
