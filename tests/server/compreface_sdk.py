"""All operations of CompreFace's own SDK; the answers as one JSON object.

usage: compreface_sdk.py PORT KEY ONE_FACE TWO_FACES
"""
import json
import sys

from compreface import CompreFace

port, key, one, two = sys.argv[1:]
client = CompreFace("http://127.0.0.1", port)
recognition = client.init_face_recognition(key)
detection = client.init_face_detection(key)
verification = client.init_face_verification(key)
faces, subjects = recognition.get_face_collection(), recognition.get_subjects()
out = {}
only = {"det_prob_threshold": 0.935}  # of the two faces, the one that is surer

out["add subject"] = subjects.add("Empty")
out["add again"] = subjects.add("Empty")
out["rename subject"] = subjects.update("Empty", "Still empty")
out["rename nobody"] = subjects.update("Nobody", "Somebody")
out["add example"] = faces.add(one, "Ann")
with open(one, "rb") as f:
    out["add bytes"] = faces.add(f.read(), "Ann")
out["add one of two"] = faces.add(two, "Bob", only)
out["add two"] = faces.add(two, "Bob")
out["list subjects"] = subjects.list()
out["list examples"] = faces.list()
out["recognize"] = recognition.recognize(two, {"limit": 0, "prediction_count": 2, "status": True,
                                               "face_plugins": "calculator,landmarks,age,gender,mask"})
out["recognize all default"] = recognition.recognize(one)
out["verify example"] = faces.verify(one, out["add example"]["image_id"], {"det_prob_threshold": 0.5})
out["detect"] = detection.detect(two, {"face_plugins": "landmarks", "limit": 1})
out["verify"] = verification.verify(one, two, {"face_plugins": "landmarks", "status": True})
out["delete example"] = faces.delete(out["add bytes"]["image_id"])
out["delete again"] = faces.delete(out["add bytes"]["image_id"])
out["delete of subject"] = faces.delete_all("Bob")
out["delete subject"] = subjects.delete("Still empty")
out["delete nobody"] = subjects.delete("Still empty")
out["delete all"] = subjects.delete_all()
out["nobody is left"] = subjects.list()
json.dump(out, sys.stdout)
