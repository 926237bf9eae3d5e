"""The shared networks and what each wants to see, for the tests of this folder. Needs NumPy and Pillow."""
import numpy as np
from PIL import Image

# (mean, scale, BGR) of each network; the first name that is part of the file's name counts.
PREPROCESSING = [
    ("yunet", 0, 1, True), ("scrfd", 127.5, 1 / 128, False), ("ultraface", 127, 1 / 128, False),
    ("retinaface", (104, 117, 123), 1, True),
    ("foamliu", (123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375), False),
    ("mobilefacenet_y1", 0, 1, False), ("mobileface_v2", 0, 1, False), ("reid", 0, 1, True),
    ("w600k", 127.5, 1 / 127.5, False), ("minifasnet", 0, 1, True), ("pfld", 0, 1 / 255, False),
    ("slim_68", 127.5, 1 / 127.5, True), ("fsanet", 127.5, 1 / 127.5, True), ("landmarks_5", 0, 1, True),
]


def network_input(name, shape, photo):
    """The photo as the network `name` wants it; dimensions of `shape` that are no numbers are open."""
    shape = [d if isinstance(d, int) and d > 0 else None for d in shape]
    side = 112 if "pfld" in name or "w600k" in name else 320
    height, width = shape[2] or side, shape[3] or side
    mean, scale, bgr = next(p[1:] for p in PREPROCESSING if p[0] in name)
    image = Image.open(photo).convert("RGB")
    if height == width and height <= 160:  # crops of faces: the middle of the photo
        image = image.crop((70, 70, 180, 180))
    pixels = np.asarray(image.resize((width, height), Image.BILINEAR), dtype=np.float32)
    if bgr:
        pixels = pixels[:, :, ::-1]
    x = ((pixels - np.float32(mean)) * np.float32(scale)).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(x, dtype=np.float32)


def distance(a, b):
    """Cosine, and the largest difference in parts of the largest number."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if a.size != b.size:
        return 0.0, 9.0
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-30)
    return float(cosine), float(np.abs(a - b).max() / (np.abs(a).max() + 1e-12))
