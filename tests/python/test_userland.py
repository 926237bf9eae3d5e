"""Programs that users have written, as they are (their README says how each is judged)."""
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

import uniface
from conftest import SHARED, WHEEL, cosines, photo_paths, run_python

USERLAND = SHARED / "userland"
pytestmark = pytest.mark.skipif(not USERLAND.exists(), reason=f"no programs in {USERLAND}")


def environment(store):
    return {"UNIFACE_MODELS": str(store)}


def test_quantize(store, tmp_path, fp32, crops):
    ending = """
uniface.save_model(original_model, 'original.ufm')
uniface.save_model(quantized_model_int8, 'int8.ufm')
uniface.save_model(quantized_model_fp16, 'fp16.ufm')
"""
    status, text = run_python("-c", f"exec(open({str(USERLAND / '01_quantize.py')!r}).read()){ending}",
                              cwd=tmp_path, env=environment(store))
    assert status == 0 and "FP16 quantization complete." in text, text
    size = {name: os.path.getsize(tmp_path / f"{name}.ufm") for name in ("original", "int8", "fp16")}
    assert size["int8"] < 0.35 * size["original"] and size["fp16"] < 0.55 * size["original"]
    int8, fp16 = (uniface.load_model(tmp_path / f"{name}.ufm") for name in ("int8", "fp16"))
    assert int8.precision == "int8" and fp16.precision == "fp16"
    want = fp32.predict(crops)
    assert cosines(int8.predict(crops), want).min() >= 0.99
    assert cosines(fp16.predict(crops), want).min() >= 0.9999


def test_devices(store, tmp_path, crops):
    shutil.copy(store / "quantized_int8_embedder.ufm", tmp_path)
    np.save(tmp_path / "crops.npy", crops)
    ending = """
import numpy as np
print(inference_engine.device, inference_engine.predict(np.load('crops.npy')).shape)
"""
    status, text = run_python("-c", f"exec(open({str(USERLAND / '02_devices.py')!r}).read()){ending}",
                              cwd=tmp_path)
    assert status == 0, text
    assert "['CPU'" in text
    if "GPU:0" not in uniface.runtime.list_available_devices():
        assert "GPU:0 not found. Falling back to CPU" in text and "CPU (24, 512)" in text, text


def test_batch_as_it_is(tmp_path):
    status, text = run_python(USERLAND / "03_batch.py", cwd=tmp_path)
    assert status == 0 and "Processed 5 images" in text, text


def test_batch_with_its_lines_in_place(store, tmp_path):
    for i, photo in enumerate(photo_paths("lfw", 5), 1):
        shutil.copy(photo, tmp_path / f"face{i}.jpg")
    program = (USERLAND / "03_batch.py").read_text()
    program = program.replace(
        "# inference_engine = uniface.runtime.InferenceEngine(...)",
        'inference_engine = uniface.runtime.InferenceEngine("quantized_int8_embedder")')
    program = program.replace("    # embeddings = process_batch", "    embeddings = process_batch")
    program = re.sub(r"    dummy_batch = .*\n    embeddings = np\.random.*\n", "", program)
    program += "\nprint(np.array(all_embeddings).shape, np.linalg.norm(all_embeddings, axis=1))\n"
    (tmp_path / "batch.py").write_text(program)
    status, text = run_python("batch.py", cwd=tmp_path, env=environment(store))
    assert status == 0 and "(5, 512) [" in text, text


def test_compare(store, tmp_path):
    status, text = run_python(
        "-c", f"import numpy as np; exec(open({str(USERLAND / '04_compare.py')!r}).read())\n"
              "print(model_fp32.predict(dummy_image_input).shape, model_int8.predict(dummy_image_input).shape)",
        cwd=tmp_path, env=environment(store))
    assert status == 0 and "Observation:" in text and "(1, 128) (1, 512)" in text, text


def test_without_a_store_the_models_of_the_package_run(tmp_path):
    if not os.environ.get("UNIFACE_TEST_WHEEL"):
        pytest.skip("the package was not installed from a wheel")
    status, text = run_python(USERLAND / "01_quantize.py", cwd=tmp_path, env=environment(tmp_path / "none"))
    assert status == 0, text


# ---- the service ----

def form(name, data):
    boundary = uuid.uuid4().hex
    body = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n").encode() + data + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.fixture(scope="module")
def service_python(tmp_path_factory):
    """An environment by the service's own requirements.txt, with our wheel beside it."""
    if not WHEEL:
        pytest.skip("UNIFACE_TEST_WHEEL does not name the wheel")
    folder = str(tmp_path_factory.mktemp("service") / "venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    done = subprocess.run([f"{folder}/bin/pip", "install", "-q", "--disable-pip-version-check", "-r",
                           USERLAND / "requirements.txt", "--find-links", os.path.dirname(WHEEL)],
                          capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the service's requirements cannot be installed: {done.stderr.strip()[-300:]}")
    return folder


def start(service_python, folder, workers):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [f"{service_python}/bin/gunicorn", "app:app", "--workers", str(workers), "--bind", f"127.0.0.1:{port}",
         "-k", "uvicorn.workers.UvicornWorker"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for _ in range(600):
        try:
            if ask(port, "GET", "/")[0]:
                return process, port
        except OSError:
            time.sleep(0.1)
        if process.poll() is not None:
            pytest.fail(process.stdout.read().decode())
    process.kill()
    pytest.fail("the service does not answer")


def test_service(service_python, store, tmp_path):
    (tmp_path / "models").mkdir()
    shutil.copy(store / "quantized_int8_embedder.ufm", tmp_path / "models")
    shutil.copy(USERLAND / "app.py", tmp_path)
    photo = photo_paths("lfw", 1)[0]
    uniface.Image.from_path(photo).save(tmp_path / "photo.png")
    process, port = start(service_python, tmp_path, 4)
    try:
        status, text = ask(port, "GET", "/")
        assert status == 200 and "running" in text
        vectors = []
        for name in (photo, tmp_path / "photo.png"):
            with open(name, "rb") as file:
                status, text = ask(port, "POST", "/embed_face/", *form(os.path.basename(name), file.read()))
            assert status == 200, text
            vectors.append(np.array(re.findall(r"-?\d\.\d+(?:e-\d+)?", text.split("[")[1]), np.float64))
        assert len(vectors[0]) == 512 and vectors[0] @ vectors[1] > 0.999
        assert ask(port, "POST", "/embed_face/", *form("note.txt", b"no picture at all"))[0] == 400
        assert ask(port, "POST", "/embed_face/", *form("empty.jpg", b""))[0] == 400
        assert ask(port, "GET", "/")[0] == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
