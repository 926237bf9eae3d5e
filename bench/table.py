#!/usr/bin/env python3
"""All bars of speed, size and accuracy in one document, measured side by side on this machine.

usage: table.py UNIFACE MODELS PHOTOS OUT.md [--rounds N]

MODELS is a folder of ONNX networks, PHOTOS one with lfw/images, lfw/pairs.tsv and london/. Rows whose inputs are
absent say so. Runs bench/peers.py, `uniface quantize`, `uniface compare` and `uniface bench`.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("uniface")
p.add_argument("models")
p.add_argument("photos")
p.add_argument("out")
p.add_argument("--rounds", type=int, default=5)
a = p.parse_args()
here = os.path.dirname(os.path.abspath(__file__))
work = tempfile.mkdtemp()
lfw, pairs = os.path.join(a.photos, "lfw", "images"), os.path.join(a.photos, "lfw", "pairs.tsv")
detector = os.path.join(a.models, "yunet_n_320.onnx")
PEERS = ["onnxruntime", "onnxruntime_int8", "openvino", "opencv", "mnn", "ncnn"]
LAYERS_ONLY = ["onednn", "onednn_bf16", "onednn_int8"]  # lower bounds, no runtimes
HALVES = ["bf16", "fp16"]
EMBEDDERS = {"MobileFaceNet (foamliu, ReLU6)": "mobilefacenet_foamliu.onnx",
             "MobileFaceNet (y1, PReLU)": "mobilefacenet_y1.onnx"}
DETECTORS = {"YuNet-n, 320x320": ("yunet_n_320.onnx", 320), "SCRFD-500M, 640x640": ("scrfd_500m_kps_dynamic.onnx", 640)}
text, bars, versions = [], [], {}


def say(line=""):
    text.append(line)
    print(line, flush=True)


def run(*args, fails=False):
    done = subprocess.run([str(x) for x in args], capture_output=True, text=True)
    if done.returncode and not fails:
        sys.exit(f"{' '.join(map(str, args))}: {done.stderr[-400:]}")
    return done.stdout


def bar(what, value, wanted, above=True, unit="x"):
    met = value >= wanted if above else value <= wanted
    bars.append(f"| {what} | {value:.3g} {unit} | {'>=' if above else '<='} {wanted:g} {unit} | {'met' if met else '**missed**'} |")


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def peers(model, *options):
    out = os.path.join(work, "peers.json")
    run(sys.executable, os.path.join(here, "peers.py"), a.uniface, model, "--rounds", a.rounds, "--json", out, *options)
    report = json.load(open(out))
    for e, r in report.items():
        versions[e] = r["version"]
    return report


def cells(report, base):
    row = []
    for e in ["uniface", "uniface_bf16", "uniface_fp16", "uniface_int8"] + PEERS + LAYERS_ONLY:
        r = report.get(e)
        row.append("" if not r else f"{r['ms']:.2f}" + ("" if e.startswith("uniface") else f" ({r['ratio'][base]:.2f})"))
    return " | ".join(row)


def calibration_list():
    """Every eighth photo: those that accuracy is not only judged on; group photos for detectors."""
    path = os.path.join(work, "calibration.txt")
    names = sorted(os.listdir(lfw))[::8]
    with open(path, "w") as f:
        f.writelines(os.path.join(lfw, n) + "\n" for n in names)
    return path


def halves(model, name):
    """The options of peers.py for the model in 16 bits."""
    options = []
    for precision in HALVES:
        out = os.path.join(work, f"{name}-{precision}.ufm")
        run(a.uniface, "quantize", model, "--precision", precision, "-o", out)
        options += ["--" + precision, out]
    return options


def quantize(model, name):
    out = os.path.join(work, name + "-int8.ufm")
    run(a.uniface, "quantize", model, "-c", calibration_list(), "-d", detector, "-o", out)
    return out


def bf16_beside_onednn(title, report):
    if "onednn_bf16" in report:
        bar(f"{title}: BF16 beside oneDNN's layers in BF16", report["onednn_bf16"]["ratio"]["uniface_bf16"], 1)


def speed():
    say("## Speed\n\nOne thread, batch 1, ms; in brackets how many times as slow as UniFace in the same precision class "
        "(INT8 where there is one). oneDNN runs the convolutions alone. Detectors are as `quantize` makes them, which may "
        "be INT16.\n")
    columns = ["network", "UniFace FP32", "BF16", "FP16", "INT8", "ONNX Runtime FP32", "its INT8", "OpenVINO FP32",
               "OpenCV FP32", "MNN FP32", "ncnn FP32", "oneDNN FP32", "its BF16", "its INT8"]
    say(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    quantized = {}
    for title, (file, size) in {**{t: (f, 112) for t, f in EMBEDDERS.items()}, **DETECTORS}.items():
        model = os.path.join(a.models, file)
        if not os.path.exists(model):
            say(f"| {title} | not measured: {file} is absent {'| ' * (len(columns) - 1)}")
            continue
        quantized[title] = quantize(model, file)
        r = peers(model, "--int8", quantized[title], "--calibration", lfw, "--size", size,
                  *halves(model, file))
        say(f"| {title} | {cells(r, 'uniface_int8')} |")
        bf16_beside_onednn(title, r)
        fastest = min(r[e]["ratio"]["uniface"] for e in PEERS if e in r and e != "onnxruntime_int8")
        any_precision = min(r[e]["ratio"]["uniface_int8"] for e in PEERS if e in r)
        wanted = 1.3 if "Mobile" in title else 1.5
        bar(f"{title}: FP32 beside the fastest FP32 peer", fastest, wanted)
        if "YuNet" in title:
            bar(f"{title}: INT8 beside the best peer in any precision", any_precision, 1.5)
        else:
            bar(f"{title}: INT8 beside ONNX Runtime FP32", r["onnxruntime"]["ratio"]["uniface_int8"], 3)
    iresnet(quantized)
    return quantized


def iresnet(quantized):
    model = os.path.join(work, "iresnet50.onnx")
    run(sys.executable, os.path.join(here, "make_iresnet.py"), model, "--depth", 50)
    small = quantize(model, "iresnet50")
    r = peers(model, "--int8", small, *halves(model, "iresnet50"))
    say(f"| IResNet-50 (random weights) | {cells(r, 'uniface_int8')} |")
    bf16_beside_onednn("IResNet-50", r)
    bar("IResNet-50: FP32 beside the fastest FP32 peer",
        min(r[e]["ratio"]["uniface"] for e in PEERS if e in r and e != "onnxruntime_int8"), 1.2)
    bar("IResNet-50: INT8", r["uniface_int8"]["ms"], 6, above=False, unit="ms")


def throughput(quantized):
    small = quantized.get("MobileFaceNet (foamliu, ReLU6)")
    if small:
        r = json.loads(run(a.uniface, "bench", small, "--threads", 2, "--batch", 16, "--seconds", 2, "--json"))
        bar("MobileFaceNet INT8, batch 16, 2 threads", r["images_per_s"], 3500, unit="images/s")


def without_avx512(quantized):
    title, file = next(iter(EMBEDDERS.items()))
    if title not in quantized or "avx2" not in run(a.uniface, "devices"):
        return
    ratios = []
    for _ in range(a.rounds):
        ms = [json.loads(run("env", "UNIFACE_CPU=avx2", a.uniface, "bench", m, "--threads", 1, "--seconds", 0.6, "--json"))
              ["latency_ms"]["p50"] for m in (os.path.join(a.models, file), quantized[title])]
        ratios.append(ms[0] / ms[1])
    bar(f"{title}: INT8 beside its FP32 on AVX2 alone", statistics.median(ratios), 1.5)


def started(*args):
    """Milliseconds from a start to its end and the most memory in MB, medians of 15."""
    times, memory = [], []
    for _ in range(15):
        start = time.perf_counter()
        p = subprocess.Popen([str(x) for x in args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, used = os.wait4(p.pid, 0)
        times.append(1e3 * (time.perf_counter() - start))
        memory.append(used.ru_maxrss * 1024 / 1e6)
    return statistics.median(times), statistics.median(memory)


def starts():
    d, e, crop = (os.path.join(work, n) for n in ("d.ufm", "e.ufm", "crop.npy"))
    run(a.uniface, "import", detector, "-o", d)
    run(a.uniface, "import", os.path.join(a.models, "mobilefacenet_foamliu.onnx"), "-o", e)
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 112, 112), }"
    with open(crop, "wb") as f:
        f.write(b"\x93NUMPY\1\0" + (118).to_bytes(2, "little") + head.ljust(117) + b"\n" + bytes(4 * 3 * 112 * 112))
    ms, _ = started(a.uniface, "run", e, crop, "--threads", 1, "-o", os.path.join(work, "out"))
    bar("start to first embedding, one thread", ms, 10, above=False, unit="ms")
    photos = [os.path.join(a.photos, "london", f"001_{look}.jpg") for look in ("neutral", "smiling")]
    _, mb = started(a.uniface, "verify", *photos, "-d", d, "-e", e)
    bar("verify: peak memory with YuNet-n and MobileFaceNet", mb, 25, above=False, unit="MB")
    wide = os.path.join(work, "wide.jpg")
    run(sys.executable, "-c", "import sys; from PIL import Image; f = Image.open(sys.argv[1]).convert('RGB'); "
        "b = f.resize((1920, 1920)).crop((0, 420, 1920, 1500)); b.paste(f.resize((1080, 1080)), (420, 0)); "
        "b.save(sys.argv[2], quality=90)", photos[0], wide)
    r = json.loads(run(a.uniface, "profile", wide, "-d", d, "-e", e, "--threads", 1, "--json"))
    bar("JPEG of 1920x1080 to a template, one thread", r["total"]["best_ms"], 12, above=False, unit="ms")


def accuracy(quantized):
    say("\n## INT8 beside FP32\n\n`uniface compare` on the LFW pairs, calibrated on every eighth photo.\n")
    say("| network | file | memory | cosine mean | 1st percentile | TAR drop, points | McNemar p |\n|---|---|---|---|---|---|---|")
    for title, file in EMBEDDERS.items():
        if title not in quantized:
            continue
        big = os.path.join(work, file + ".ufm")
        run(a.uniface, "import", os.path.join(a.models, file), "-o", big)
        r = json.loads(run(a.uniface, "compare", big, quantized[title], "-d", detector, "--pairs", pairs, "--images", lfw,
                           "--flip", "--json"))
        say(f"| {title} | {r['size_ratio']:.3f} | {r['memory_ratio']:.3f} | {r['cosine_mean']:.4f} | {r['cosine_p1']:.4f} | "
            f"{r['tar_drop_points']:.2f} | {r['mcnemar_p']:.2f} |")
        bar(f"{title}: INT8 file", r["size_ratio"], 0.27, above=False)
        bar(f"{title}: INT8 memory", r["memory_ratio"], 0.5, above=False)
        bar(f"{title}: mean cosine", r["cosine_mean"], 0.995, unit="")
        bar(f"{title}: 1st percentile of the cosine", r["cosine_p1"], 0.98, unit="")
        bar(f"{title}: TAR drop", r["tar_drop_points"], 0.3, above=False, unit="points")
        bar(f"{title}: McNemar p", r["mcnemar_p"], 0.05, unit="")
        half = os.path.join(work, "half.ufm")
        run(a.uniface, "quantize", big, "--precision", "fp16", "-o", half)
        r = json.loads(run(a.uniface, "compare", big, half, "-d", detector, "--images", os.path.join(a.photos, "london"),
                           "--json"))
        bar(f"{title}: FP16 file", r["size_ratio"], 0.51, above=False)
        bar(f"{title}: FP16 mean cosine", r["cosine_mean"], 0.9999, unit="")


def times_of_tools():
    model = os.path.join(a.models, "mobilefacenet_foamliu.onnx")
    if not os.path.exists(model):
        return
    for command, wanted in (("quantize", 20), ("optimize", 300)):
        start = time.time()
        run(a.uniface, command, model, "-c", lfw, "-n", 500, "-d", detector, "-o", os.path.join(work, "x.ufm"))
        bar(f"{command} with 500 pictures", time.time() - start, wanted, above=False, unit="s")


if not os.path.exists(detector) or not os.path.exists(pairs):
    sys.exit(f"table.py: {detector} and {pairs} are needed")
say("# Benchmarks\n")
say(f"Written by `make bench` on {time.strftime('%Y-%m-%d')}: {processor()}, {os.cpu_count()} cores; "
    + run(a.uniface, "--version").strip() + ".")
say("Engines take turns in one run; printed are medians over the rounds.\n")
quantized = speed()
throughput(quantized)
without_avx512(quantized)
starts()
accuracy(quantized)
times_of_tools()
say("\n## Bars\n\n| what | measured | wanted | |\n|---|---|---|---|")
for line in bars:
    say(line)
say("\n## Versions\n")
for e, v in versions.items():
    say(f"- {e}: {v}")
with open(a.out, "w") as f:
    f.write("\n".join(text) + "\n")
