#!/usr/bin/env python3
"""Writes an IResNet (the ResNet of ArcFace, Deng et al. 2019) with random weights as ONNX.

usage: make_iresnet.py OUTPUT.onnx [--depth 18|50|100] [--seed N]

Speed does not depend on what the weights are, and trained ones come with licences of their own. Input
[batch, 3, 112, 112], output [batch, 512]. Needs the Python packages onnx and numpy.
"""
import argparse

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("output")
p.add_argument("--depth", type=int, choices=sorted(BLOCKS), default=50)
p.add_argument("--seed", type=int, default=1)
a = p.parse_args()
rng = np.random.default_rng(a.seed)
nodes, constants = [], []


def constant(array):
    name = f"w{len(constants)}"
    constants.append(numpy_helper.from_array(np.asarray(array, dtype=np.float32), name))
    return name


def node(op, *inputs, **attributes):
    out = f"{op.lower()}{len(nodes)}"
    nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
    return out


def conv(x, n_in, n_out, kernel, stride):
    w = rng.standard_normal((n_out, n_in, kernel, kernel)) * np.sqrt(2 / (n_in * kernel * kernel))
    return node("Conv", x, constant(w), kernel_shape=[kernel] * 2, strides=[stride] * 2,
                pads=[kernel // 2] * 4)


def norm(x, n):
    return node("BatchNormalization", x, constant(rng.uniform(0.8, 1.2, n)), constant(rng.uniform(-0.1, 0.1, n)),
                constant(rng.uniform(-0.2, 0.2, n)), constant(rng.uniform(0.5, 1.5, n)))


def prelu(x, n):
    return node("PRelu", x, constant(rng.uniform(0, 0.3, (n, 1, 1))))


def block(x, n_in, n_out, stride):
    y = prelu(norm(conv(norm(x, n_in), n_in, n_out, 3, 1), n_out), n_out)
    y = norm(conv(y, n_out, n_out, 3, stride), n_out)
    if stride != 1 or n_in != n_out:
        x = norm(conv(x, n_in, n_out, 1, stride), n_out)
    return node("Add", y, x)


x, width = prelu(norm(conv("input", 3, 64, 3, 1), 64), 64), 64
for n_out, count in zip((64, 128, 256, 512), BLOCKS[a.depth]):
    for i in range(count):
        x = block(x, width, n_out, 2 if i == 0 else 1)
        width = n_out
x = node("Flatten", norm(x, 512), axis=1)
x = node("Gemm", x, constant(rng.standard_normal((512, 512 * 49)) * 0.01), constant(np.zeros(512)), transB=1)
x = norm(x, 512)
graph = helper.make_graph(
    nodes, f"iresnet{a.depth}",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 112, 112])],
    [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", 512])], constants)
save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), a.output)
