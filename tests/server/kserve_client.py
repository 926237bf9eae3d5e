"""Triton's HTTP client on a model: what it sees and gets, as one JSON object.

usage: kserve_client.py PORT MODEL INPUT.npy
"""
import json
import sys

import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

port, model, source = sys.argv[1:]
client = http.InferenceServerClient(f"127.0.0.1:{port}")
x = np.load(source)
out = {"live": client.is_server_live(), "ready": client.is_server_ready(), "server": client.get_server_metadata(),
       "model ready": client.is_model_ready(model), "version ready": client.is_model_ready(model, "1"),
       "other ready": client.is_model_ready("other"), "model": client.get_model_metadata(model)}
name, output = out["model"]["inputs"][0]["name"], out["model"]["outputs"][0]["name"]


def infer(binary_in, binary_out, version="", **more):
    tensor = http.InferInput(name, list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, binary_data=binary_in)
    wanted = None if binary_out is None else [http.InferRequestedOutput(output, binary_data=binary_out)]
    got = client.infer(model, [tensor], outputs=wanted, model_version=version, request_id="r7", **more)
    return {"shape": list(got.as_numpy(output).shape), "data": got.as_numpy(output).reshape(-1).tolist(),
            "id": got.get_response()["id"], "outputs": len(got.get_response()["outputs"])}


out["bytes"] = infer(True, True)
out["bytes, all"] = infer(True, None, "1")
out["JSON"] = infer(False, False)
out["mixed"] = infer(True, False)
try:
    infer(True, True, request_compression_algorithm="gzip")
except InferenceServerException as e:
    out["gzip"] = str(e)
try:
    client.infer("other", [http.InferInput(name, [1], "FP32").set_data_from_numpy(np.zeros(1, np.float32))])
except InferenceServerException as e:
    out["other"] = str(e)
json.dump(out, sys.stdout)
