"""What bench/server.py compares with: the same two networks in FastAPI, by ONNX Runtime and OpenCV.

The app is what users of UniFace run (gunicorn with uvicorn workers), with the detection that `uniface serve` does
before it embeds. Constants of both networks come from UNIFACE_PEER, a JSON file that bench/server.py writes.
"""
import json
import os

import cv2
import numpy as np
import onnxruntime
from fastapi import FastAPI, File, HTTPException, UploadFile

with open(os.environ["UNIFACE_PEER"], encoding="utf-8") as f:
    constants = json.load(f)
cv2.setNumThreads(1)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = constants["threads"]
detector = onnxruntime.InferenceSession(constants["detector"], options, providers=["CPUExecutionProvider"])
embedder = onnxruntime.InferenceSession(constants["embedder"], options, providers=["CPUExecutionProvider"])
outputs = {o.name: i for i, o in enumerate(detector.get_outputs())}
SIDE, STRIDES = 320, (8, 16, 32)
template = np.array(constants["template"], np.float32).reshape(5, 2)
mean, scale = (np.array(constants[k], np.float32) for k in ("mean", "scale"))
cells = {s: np.stack(np.meshgrid(np.arange(SIDE // s), np.arange(SIDE // s)), -1).reshape(-1, 2) for s in STRIDES}
app = FastAPI(title="UniFace Face Embedding API")


def landmarks(image):
    """Five points of the largest face, or None: YuNet on the picture in the top left corner of its input."""
    height, width = image.shape[:2]
    by = SIDE / max(height, width)
    canvas = np.zeros((SIDE, SIDE, 3), np.uint8)
    small = cv2.resize(image, (round(width * by), round(height * by)))
    canvas[:small.shape[0], :small.shape[1]] = small
    found = detector.run(None, {detector.get_inputs()[0].name: canvas.transpose(2, 0, 1)[None].astype(np.float32)})
    boxes, points, scores = [], [], []
    for s in STRIDES:
        score = np.sqrt(np.clip(found[outputs[f"cls_{s}"]], 0, 1) * np.clip(found[outputs[f"obj_{s}"]], 0, 1)).reshape(-1)
        for i in np.flatnonzero(score >= constants["score"]):
            box, point = found[outputs[f"bbox_{s}"]].reshape(-1, 4)[i], found[outputs[f"kps_{s}"]].reshape(-1, 5, 2)[i]
            centre, size = (cells[s][i] + box[:2]) * s, np.exp(box[2:]) * s
            boxes.append([*(centre - size / 2), *size])
            points.append((point + cells[s][i]) * s / by)
            scores.append(float(score[i]))
    kept = cv2.dnn.NMSBoxes(boxes, scores, constants["score"], constants["nms"])
    return points[max(kept, key=lambda i: boxes[i][2] * boxes[i][3])] if len(kept) else None


def align(points):
    """The similarity that brings the points nearest to the template (Umeyama)."""
    a, b = points - points.mean(0), template - template.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    turn = u @ np.diag([1, np.sign(np.linalg.det(u @ v))]) @ v
    m = (s * [1, np.sign(np.linalg.det(u @ v))]).sum() / (a ** 2).sum() * turn
    return np.hstack([m, (template.mean(0) - m @ points.mean(0))[:, None]])


@app.get("/")
async def root():
    return {"message": "UniFace Face Embedding API is running!"}


@app.post("/embed_face/")
async def embed_face(file: UploadFile = File(...)):
    image = cv2.imdecode(np.frombuffer(await file.read(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise HTTPException(status_code=400, detail="Could not process image")
    points = landmarks(image)
    crop = cv2.resize(image, (112, 112)) if points is None else cv2.warpAffine(image, align(points), (112, 112))
    if constants["order"] == "rgb":
        crop = crop[:, :, ::-1]
    batch = ((crop.astype(np.float32) - mean) * scale).transpose(2, 0, 1)[None]
    vector = embedder.run(None, {embedder.get_inputs()[0].name: batch})[0][0]
    return {"filename": file.filename, "embedding": (vector / np.linalg.norm(vector)).tolist()}
