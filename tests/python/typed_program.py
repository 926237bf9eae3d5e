"""What a user writes, under mypy --strict."""
import asyncio
from pathlib import Path
from typing import Iterator

import numpy as np

import uniface


def verify(a: Path, b: Path) -> bool:
    detector = uniface.models.FaceDetector.load_pretrained(size=320)
    embedder = uniface.models.FaceEmbedder.load_pretrained("large_accuracy_model")
    one, two = uniface.Image.from_path(a), uniface.Image.from_path(b)
    face = detector.detect(one).main(one)
    if face is None:
        raise SystemExit(f"no face in {a}")
    left: float = face.box[0]
    score: float = face.score
    print(left, score, uniface.detection.quality(one, face).total)
    first = embedder.embed_faces(one, [face])[0]
    second = uniface.verification.template_of(b, detector, embedder)
    print(uniface.verification.verify(a, b, detector, embedder))
    return bool(uniface.verification.similarity(first, second) >= embedder.threshold(1e-3).threshold)


def many(folder: Path) -> Iterator[tuple[str, int]]:
    detector = uniface.models.FaceDetector.load_pretrained()
    embedder = uniface.models.FaceEmbedder.load_optimized("quantized_int8_embedder", device="CPU")
    for item in uniface.Pipeline(detector, embedder, max_faces=3).run(folder, progress=lambda done, total: None):
        if item.error is None and item.faces is not None and item.templates is not None:
            yield str(item.source), len(item.faces)


def smaller(path: str) -> uniface.models.FaceEmbedder:
    model = uniface.models.FaceEmbedder.load_pretrained("large_accuracy_model")
    data = uniface.datasets.load_calibration_data()
    small = uniface.optimization.quantize_model(model, precision=uniface.Precision.INT8, calibration_dataset=data)
    uniface.save_model(small, path)
    pruned: uniface.models.FaceEmbedder = uniface.optimization.prune(model)
    return pruned


def people(path: str, template: np.ndarray, embedder: uniface.models.FaceEmbedder) -> list[str]:
    with uniface.Gallery.open(path, create=True, plain=True) as gallery:
        gallery.enroll("ada", template, embedder, consent="form 7")
        found = gallery.identify(template, embedder, top_k=3)
        print(gallery.stats().people, gallery.verify("ada", template, embedder), gallery.delete("ada"))
        return [candidate.id for candidate in found]


def engine() -> uniface.runtime.InferenceEngine:
    model = uniface.load_model("quantized_int8_embedder")
    print(uniface.runtime.list_available_devices())
    try:
        return uniface.runtime.InferenceEngine(model, device="GPU:0")
    except uniface.exceptions.DeviceNotFound:
        made = uniface.runtime.InferenceEngine(model, device="CPU")
        for step in made.profile(runs=3):
            print(step.kernel, step.time_us)
        return made


async def serve(image: np.ndarray) -> list[float]:
    embedder = uniface.models.FaceEmbedder.load_pretrained("large_accuracy_model")
    batch = uniface.preprocess.resize_and_normalize(image, target_size=(160, 160))[None]
    answer: np.ndarray = await asyncio.get_running_loop().run_in_executor(None, embedder.predict, batch)
    return [float(x) for x in answer[0]]


def measure(model: uniface.models.FaceEmbedder, pairs: list[tuple[str, str, bool]]) -> float:
    return uniface.metrics.evaluate_model_accuracy(model, pairs).accuracy
