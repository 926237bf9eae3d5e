#!/usr/bin/env python3
"""Speed of UniFace beside other runtimes, on this machine, in one run.

usage: peers.py UNIFACE MODEL.onnx [--int8 INT8.ufm] [--bf16 BF16.ufm] [--fp16 FP16.ufm] [--threads N] [--batch N] [--size PIXELS] [--rounds N]
                [--json FILE]

Engines take turns (neighbours on a shared machine disturb all alike); printed are the medians over the
rounds of each round's median latency, and the median of the ratios to UniFace within a round. Peers are
those of onnxruntime (FP32, and INT8 by its own static quantisation with --calibration), openvino, opencv-python-headless, MNN, and ncnn with pnnx that Python finds,
and oneDNN 2 (libdnnl-dev and a C compiler): a loop over the convolutions alone, so a lower bound.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("uniface")
p.add_argument("model")
p.add_argument("--int8", help="a quantised model that UniFace runs too")
p.add_argument("--bf16", help="a model of BF16 weights that UniFace runs too")
p.add_argument("--fp16", help="a model of FP16 weights")
p.add_argument("--json", help="write the medians and ratios there")
p.add_argument("--calibration", help="photos: measure ONNX Runtime's INT8 too")
p.add_argument("--threads", type=int, default=1)
p.add_argument("--batch", type=int, default=1)
p.add_argument("--size", type=int, default=320)
p.add_argument("--rounds", type=int, default=7)
p.add_argument("--seconds", type=float, default=0.6)
a = p.parse_args()
os.environ["OMP_NUM_THREADS"] = str(a.threads)


def timed(call):
    """Median latency in ms over a.seconds, after a warm-up of a tenth."""
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < a.seconds * 1.1 or len(times) < 5:
        t = time.perf_counter()
        call()
        if t - start > a.seconds * 0.1 or time.perf_counter() - start > a.seconds:
            times.append(time.perf_counter() - t)
    return statistics.median(times) * 1e3


def uniface(model=None):
    def once():
        done = subprocess.run([a.uniface, "bench", model or a.model, "--json", "--threads", str(a.threads), "--batch",
                               str(a.batch), "--seconds", str(a.seconds), "--size", str(a.size)],
                              capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        r = json.loads(done.stdout)
        uniface.text = f"{r['version']} ({r['processor']})"
        return r["latency_ms"]["p50"]
    once()
    return uniface.text, once


def uniface_int8():
    if not a.int8:
        raise RuntimeError("--int8 was not given")
    return uniface(a.int8)


def uniface_bf16():
    if not a.bf16:
        raise RuntimeError("--bf16 was not given")
    return uniface(a.bf16)


def uniface_fp16():
    if not a.fp16:
        raise RuntimeError("--fp16 was not given")
    return uniface(a.fp16)


def make_input():
    import onnx
    m = onnx.load(a.model)
    known = {i.name for i in m.graph.initializer}
    t = [i for i in m.graph.input if i.name not in known][0]
    dims = [d.dim_value if d.dim_value > 0 else a.size for d in t.type.tensor_type.shape.dim]
    dims[0] = a.batch
    return t.name, np.random.default_rng(1).standard_normal(dims, dtype=np.float32), m


def dynamic_batch_copy(m, x, folder):
    """The model with this input size written down, for engines that want it static."""
    import onnx
    for t in m.graph.input:
        if t.name == name:
            for d, v in zip(t.type.tensor_type.shape.dim, x.shape):
                d.ClearField("dim_param")
                d.dim_value = v
    path = os.path.join(folder, "model.onnx")
    onnx.save(m, path)
    return path


def onnxruntime():
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.log_severity_level = a.threads, 4
    s = ort.InferenceSession(static_model, o, providers=["CPUExecutionProvider"])
    return ort.__version__, lambda: timed(lambda: s.run(None, {name: x}))


def onnxruntime_int8():
    """Static quantisation, unsigned activations, weights for each channel."""
    import glob
    import logging
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from PIL import Image
    if not a.calibration:
        raise RuntimeError("--calibration was not given")
    logging.disable(logging.CRITICAL)

    class Photos(CalibrationDataReader):
        def __init__(self):
            files = sorted(glob.glob(os.path.join(a.calibration, "*.jpg")))[:16]
            self.items = iter([{name: np.ascontiguousarray(np.asarray(
                Image.open(f).convert("RGB").resize((x.shape[3], x.shape[2])), np.float32).transpose(2, 0, 1)[None])}
                for f in files])

        def get_next(self):
            return next(self.items, None)

    out = os.path.join(folder, "int8.onnx")
    quantize_static(static_model, out, Photos(), quant_format=QuantFormat.QOperator, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.log_severity_level = a.threads, 4
    s = ort.InferenceSession(out, o, providers=["CPUExecutionProvider"])
    return ort.__version__ + " INT8", lambda: timed(lambda: s.run(None, {name: x}))


def openvino():
    import openvino as ov
    core = ov.Core()
    model = core.read_model(static_model)
    model.reshape({name: list(x.shape)})
    c = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": a.threads, "NUM_STREAMS": 1,
                                          "INFERENCE_PRECISION_HINT": "f32"})
    r = c.create_infer_request()
    return ov.__version__.split("-")[0], lambda: timed(lambda: r.infer({0: x}))


def opencv():
    import cv2
    cv2.setNumThreads(a.threads)
    net = cv2.dnn.readNetFromONNX(static_model)

    def once():
        net.setInput(x)
        net.forward(net.getUnconnectedOutLayersNames())
    once()
    return cv2.__version__, lambda: timed(once)


def mnn():
    import MNN
    out = os.path.join(folder, "model.mnn")
    if subprocess.run([os.path.join(os.path.dirname(sys.executable), "mnnconvert"), "-f", "ONNX", "--modelFile",
                       static_model, "--MNNModel", out], capture_output=True).returncode:
        raise RuntimeError("the converter failed")
    i = MNN.Interpreter(out)
    s = i.createSession({"numThread": a.threads, "precision": "high", "backend": "CPU"})
    t = i.getSessionInput(s)
    i.resizeTensor(t, tuple(x.shape))
    i.resizeSession(s)
    host = MNN.Tensor(x.shape, MNN.Halide_Type_Float, x, MNN.Tensor_DimensionType_Caffe)

    def once():
        t.copyFrom(host)
        i.runSession(s)
    once()
    return MNN.version(), lambda: timed(once)


def ncnn():
    import ncnn as n
    shape = "inputshape=[" + ",".join(map(str, x.shape)) + "]"
    done = subprocess.run([os.path.join(os.path.dirname(sys.executable), "pnnx"), static_model, shape, "fp16=0"],
                          capture_output=True, text=True, cwd=folder)
    param = os.path.join(folder, "model.ncnn.param")
    if done.returncode or not os.path.exists(param) or a.batch != 1:
        raise RuntimeError("the converter failed" if a.batch == 1 else "it runs batch 1 only")
    net = n.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = a.threads, False
    net.load_param(param)
    net.load_model(param[:-5] + "bin")
    blob = n.Mat(np.ascontiguousarray(x[0]))

    def once():
        e = net.create_extractor()
        e.input(net.input_names()[0], blob)
        for out in net.output_names():
            e.extract(out)
    once()
    return n.__version__, lambda: timed(once)


def attribute(node, key, default):
    return next((list(v.ints) or v.i or v.f for v in node.attribute if v.name == key), default)


def onednn_layer(node, dims, follower):
    """A line for bench/peer_onednn.c."""
    ins, outs, weights = dims[node.input[0]], dims[node.output[0]], dims[node.input[1]]
    if node.op_type == "Gemm":
        ins, outs, kernel = ins + [1, 1], outs + [1, 1], [1, 1]
    else:
        kernel = weights[2:]
    slope = {"Relu": 0, "Clip": 0, "PRelu": 0.25, "LeakyRelu": 0.25}.get(follower, 1)
    return [*ins, *outs[1:], *kernel, *attribute(node, "strides", [1, 1]), *attribute(node, "dilations", [1, 1]),
            *attribute(node, "pads", [0, 0, 0, 0]), attribute(node, "group", 1), slope]


def onednn_layers():
    """Shapes are those that ONNX Runtime finds in a run: a file may leave them open."""
    import onnx
    import onnxruntime as ort
    m = onnx.load(static_model)
    dims = {t.name: list(t.dims) for t in m.graph.initializer}
    dims[name] = list(x.shape)
    wanted = sorted({n for node in m.graph.node if node.op_type in ("Conv", "Gemm")
                     for n in (node.input[0], node.output[0])} - dims.keys())
    del m.graph.output[:]
    m.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted)
    s = ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
    dims.update((n, list(v.shape)) for n, v in zip(wanted, s.run(wanted, {name: x})))
    readers = {i: n.op_type for n in m.graph.node for i in n.input}
    layers = [onednn_layer(n, dims, readers.get(n.output[0])) for n in m.graph.node
              if n.op_type in ("Conv", "Gemm") and n.input[1] in dims]
    path = os.path.join(folder, "layers.txt")
    with open(path, "w") as f:
        f.writelines(" ".join(map(str, line)) + "\n" for line in layers)
    return path


def onednn_of(numbers):
    def onednn():
        program = os.path.join(folder, "peer_onednn")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_onednn.c")
        if not os.path.exists(program) and subprocess.run(["cc", "-O2", "-o", program, source, "-ldnnl"],
                                                          capture_output=True).returncode:
            raise RuntimeError("oneDNN 2 (libdnnl-dev) is not installed")
        command = [program, onednn_layers(), numbers, str(a.seconds)]

        def once():
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr.strip())
            onednn.version, ms = done.stdout.split()
            return float(ms)
        once()
        return f"{onednn.version} {numbers.upper()}, layers only", once
    onednn.__name__ = "onednn" if numbers == "f32" else "onednn_" + numbers
    return onednn


name, x, onnx_model = make_input()
folder = tempfile.mkdtemp()
static_model = dynamic_batch_copy(onnx_model, x, folder)
engines = {}
for e in (uniface, uniface_int8, uniface_bf16, uniface_fp16, onnxruntime, onnxruntime_int8, openvino, opencv, mnn,
          ncnn, *map(onednn_of, ("f32", "bf16", "int8"))):
    child = os.fork()  # a peer that crashes takes only its rehearsal with it
    if child == 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")
        try:
            e()[1]()
        except Exception:
            pass  # told below
        os._exit(0)
    signal = os.waitpid(child, 0)[1] & 127
    if signal:
        print(f"{e.__name__:16s} not measured: it crashes with this model (signal {signal})")
        continue
    try:
        engines[e.__name__] = e()
    except Exception as problem:  # a peer that cannot run this model is reported, not hidden
        print(f"{e.__name__:16s} not measured: {str(problem)[:100]}")
times = {e: [] for e in engines}
for _ in range(a.rounds):
    for e, (_, once) in engines.items():
        times[e].append(once())
print(f"{os.path.basename(a.model)}, threads {a.threads}, batch {a.batch}, input {list(x.shape)}, {a.rounds} rounds")
report = {}
for e, (version, _) in engines.items():
    against = {base: statistics.median(t / u for t, u in zip(times[e], times[base]))
               for base in ("uniface", "uniface_int8", "uniface_bf16", "uniface_fp16") if base in times}
    report[e] = {"version": version, "ms": statistics.median(times[e]), "ratio": against}
    print(f"  {e:16s} {report[e]['ms']:9.3f} ms  " + "  ".join(f"{r:5.2f} x {b}" for b, r in against.items()) +
          f"   {version}")
if a.json:
    with open(a.json, "w") as f:
        json.dump(report, f, indent=1)
