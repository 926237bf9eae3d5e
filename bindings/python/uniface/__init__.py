"""UniFace: find faces, turn them into templates, compare and search them.

    import uniface

    detector = uniface.models.FaceDetector.load_pretrained()
    embedder = uniface.models.FaceEmbedder.load_pretrained("large_accuracy_model")
    image = uniface.Image.from_path("photo.jpg")
    faces = detector.predict(image)
    templates = embedder.embed_faces(image, faces)      # (len(faces), dimension), unit length

Pictures are (height, width, 3) of uint8 0..255 or float 0..1, RGB, channels last. All functions
release the GIL while the library works. Errors are uniface.exceptions.UniFaceError.
"""
from . import (alignment, datasets, detection, exceptions, gallery, metrics, models, optimization,
               pipeline, preprocess, runtime, store, verification)
from ._native import version as library_version
from .detection import Face, Faces
from .gallery import Gallery
from .image import Image
from .models import import_model, load_model, save_model
from .optimization import Precision
from .pipeline import Pipeline

__version__ = "3.1.0"

__all__ = [
    "Face", "Faces", "Gallery", "Image", "Pipeline", "Precision", "alignment", "datasets",
    "detection", "exceptions", "gallery", "import_model", "library_version", "load_model",
    "metrics", "models", "optimization", "pipeline", "preprocess", "runtime", "save_model", "store",
    "verification",
]
