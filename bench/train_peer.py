#!/usr/bin/env python3
"""Training beside PyTorch: forward and backward passes of the same network, taking turns on this machine.

usage: train_peer.py TRAIN_STEP MODEL.onnx [--batch 64] [--threads 1] [--steps 5] [--rounds 5] [--bf16]

TRAIN_STEP is bench/train_step. PyTorch gets the network that it trains: batch normalisation behind every convolution,
activations in FP32 (--bf16: autocast), channels last, which is the faster of its layouts here; gradients are made anew each
step. Each round is a process of either; printed are medians over the rounds, and of the ratios within a round.
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import time


def build(path):
    """The ONNX graph (convolutions, scales, PReLU, sums, a product) as a module."""
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import nn

    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers, self.steps = nn.ModuleList(), []
            for n in graph.node:
                a = {x.name: list(x.ints) or x.i or x.f for x in n.attribute}
                layer, source = None, [n.input[0]]
                if n.op_type == "Conv":
                    w = constants[n.input[1]]
                    layer = nn.Conv2d(w.shape[1] * (a.get("group") or 1), w.shape[0], w.shape[2:], a.get("strides") or 1,
                                      (a.get("pads") or [0, 0])[:2], groups=a.get("group") or 1, bias=False)
                elif n.op_type == "BatchNormalization":
                    c = constants[n.input[1]].size
                    layer = nn.BatchNorm1d(c) if self.steps[-1][1] == "Gemm" else nn.BatchNorm2d(c)
                elif n.op_type == "PRelu":
                    layer = nn.PReLU(constants[n.input[1]].size)
                elif n.op_type == "Gemm":
                    w = constants[n.input[1]]
                    layer = nn.Linear(w.shape[1], w.shape[0], bias=len(n.input) > 2)
                elif n.op_type == "Flatten":
                    layer = nn.Flatten()
                elif n.op_type == "Add":
                    source = list(n.input)
                elif n.op_type in ("Sub", "Mul", "Identity"):  # the input's scaling
                    if n.input[0] in constants:
                        constants[n.output[0]] = constants[n.input[0]]
                        continue
                else:
                    sys.exit(f"{path}: {n.op_type} is not known here")
                if layer:
                    self.layers.append(layer)
                self.steps.append((source, n.op_type, n.output[0], len(self.layers) - 1 if layer else -1))

        def forward(self, x):
            values = {graph.input[0].name: x}
            left = {}
            for source, *_ in self.steps:
                for s in source:
                    left[s] = left.get(s, 0) + 1
            for source, kind, target, layer in self.steps:
                v = [values[s] for s in source]
                for s in source:  # what nobody reads any more is let go
                    left[s] -= 1
                    if not left[s]:
                        del values[s]
                values[target] = self.layers[layer](v[0]) if layer >= 0 else v[0] + v[1] if kind == "Add" else v[0]
            return values[graph.output[0].name]

    size = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    return Network(), size[1:]


def run_torch(o):
    import torch
    torch.set_num_threads(o.threads)
    net, size = build(o.model)
    net = net.to(memory_format=torch.channels_last).train()
    x = (torch.rand(o.batch, *size) * 2 - 1).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=o.bf16):
        y = net(x)
    grad = torch.rand_like(y.float()) * 1e-2
    for step in range(o.steps + 1):
        if step == 1:
            start = time.perf_counter()
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=o.bf16):
            y = net(x)
        y.float().backward(grad)
    rate = o.batch * o.steps / (time.perf_counter() - start)
    print(f"{rate:.1f} pictures/s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most")


def measure(command):
    env = dict(os.environ, GOMP_SPINCOUNT="20000")  # as uniface-train runs
    if "--torch" in command:
        env.pop("GOMP_SPINCOUNT")
    text = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    return float(re.search(r"([\d.]+) pictures/s", text)[1]), int(re.search(r"(\d+) MiB at most", text)[1])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("train_step")
    p.add_argument("model")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    o = p.parse_args()
    if o.torch:
        return run_torch(o)
    ours, theirs = [], []
    for _ in range(o.rounds):
        ours.append(measure([o.train_step, o.model, f"batch={o.batch}", f"threads={o.threads}", f"steps={o.steps}",
                             f"bf16={int(o.bf16)}"]))
        theirs.append(measure([sys.executable, __file__, "--torch", *sys.argv[1:]]))
    middle = statistics.median
    print(f"batch {o.batch}, {o.threads} threads, {'BF16' if o.bf16 else 'FP32'}: {middle(r for r, _ in ours):.1f} pictures/s, "
          f"{middle(m for _, m in ours)} MiB; PyTorch {middle(r for r, _ in theirs):.1f}, {middle(m for _, m in theirs)} MiB; "
          f"{middle(a[0] / b[0] for a, b in zip(ours, theirs)):.2f} times as fast, "
          f"{middle(a[1] / b[1] for a, b in zip(ours, theirs)):.2f} of the memory")


if __name__ == "__main__":
    main()
