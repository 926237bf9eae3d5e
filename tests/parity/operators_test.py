#!/usr/bin/env python3
"""Single operators against ONNX Runtime: each case is a graph of one node, made here, on random inputs.

usage: operators_test.py UNIFACE [OPERATOR]

Skips, and says so, where the Python packages onnx, onnxruntime or numpy are not installed.
"""
import os
import subprocess
import sys
import tempfile

passed = failed = 0
try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
except ImportError as e:
    print(f"SKIP operators: the Python package {e.name} is not installed")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(77)
ort.set_default_logger_severity(4)
program, only = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
rng = np.random.default_rng(7)
f32, i64, i32, u8, i8 = np.float32, np.int64, np.int32, np.uint8, np.int8


def real(*shape):
    return rng.standard_normal(shape, dtype=f32)


def ints(low, high, *shape, dtype=i64):
    return rng.integers(low, high, shape).astype(dtype)


def L(*v):
    return np.array(v, dtype=i64)


def S(v, dtype=f32):
    return np.array(v, dtype=dtype)


cases = []


def case(op, x, constants=(), opset=19, outputs=1, domain="", **attributes):
    """x: the inputs given at run time; constants: inputs behind them, None where one is left out."""
    cases.append((op, x if isinstance(x, list) else [x], list(constants), opset, outputs, domain, attributes))


image = real(2, 6, 9, 8)
for op in ("Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Floor", "Ceil", "Round", "Sin", "Cos", "Erf", "Softplus",
           "Softsign", "Elu", "Selu", "HardSwish", "Sign", "LeakyRelu", "HardSigmoid", "Celu", "Mish", "Atan",
           "Identity", "ThresholdedRelu"):
    case(op, image)
for op in ("Sqrt", "Log", "Reciprocal"):
    case(op, np.abs(image) + f32(0.1))
case("Gelu", image, opset=20)
case("Gelu", image, opset=20, approximate="tanh")
case("LeakyRelu", image, alpha=0.3)
case("Elu", image, alpha=0.7)
case("Clip", image, [S(-0.3), S(0.8)])
case("Clip", image, [None, S(0.8)])
for op in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow"):
    x = np.abs(image) + f32(0.2)
    case(op, [x, np.abs(real(6, 1, 1)) + f32(0.2)])
    case(op, [x, np.abs(real(9, 8)) + f32(0.2)])
    case(op, [np.abs(real(8)) + f32(0.2), x])
case("Add", [ints(-9, 9, 3, 4), ints(-9, 9, 4)])
case("Div", [ints(-9, 9, 3, 4), ints(1, 9, 4)])
case("Mod", [ints(-9, 9, 3, 4), ints(1, 9, 4)])
case("Mod", [real(3, 4), real(4)], fmod=1)
for op in ("Sum", "Mean", "Max", "Min"):
    case(op, [image, image * 2, real(1, 6, 1, 1)])
for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
    case(op, [ints(0, 3, 4, 5), ints(0, 3, 5)])
for op in ("And", "Or", "Xor"):
    case(op, [ints(0, 2, 4, 5).astype(bool), ints(0, 2, 5).astype(bool)])
case("Not", ints(0, 2, 4).astype(bool))
case("Where", [ints(0, 2, 4, 5).astype(bool), real(4, 5), real(5)])
case("PRelu", image, [real(6, 1, 1)])
case("PRelu", image, [real(1)])
# convolution, products, normalisation
for group, dilation, stride, pad in ((1, 1, 1, 1), (2, 1, 2, 0), (3, 2, 1, 2), (6, 1, 1, 1)):
    case("Conv", image, [real(12, 6 // group, 3, 3), real(12)], group=group, dilations=[dilation] * 2,
         strides=[stride] * 2, pads=[pad] * 4)
case("Conv", image, [real(4, 6, 3, 2)], auto_pad="SAME_UPPER", strides=[2, 2])
case("Conv", image, [real(4, 6, 3, 2)], auto_pad="SAME_LOWER", strides=[2, 2])
case("Conv", image, [real(4, 6, 3, 2)], auto_pad="VALID")
case("Conv", real(2, 3, 20), [real(4, 3, 5)], pads=[2, 2])
case("Conv", real(1, 2, 5, 6, 7), [real(3, 2, 3, 3, 3)], pads=[1] * 6)
case("ConvTranspose", image, [real(6, 4, 3, 3), real(4)], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0])
case("ConvTranspose", image, [real(6, 2, 2, 2)], group=3, strides=[2, 2])
case("Gemm", real(5, 7), [real(7, 4), real(4)], alpha=0.5, beta=2.0)
case("Gemm", real(7, 5), [real(4, 7), real(5, 1)], transA=1, transB=1)
case("MatMul", [real(2, 3, 4, 5), real(3, 5, 6)])
case("MatMul", [real(4, 5), real(5)])
case("MatMul", [real(5), real(2, 5, 3)])
case("BatchNormalization", image, [real(6), real(6), real(6), np.abs(real(6)) + f32(0.5)], opset=15)
case("InstanceNormalization", image, [real(6), real(6)])
case("LayerNormalization", image, [real(8), real(8)])
case("LayerNormalization", image, [real(9, 8), real(9, 8)], axis=2)
case("GroupNormalization", image, [real(6), real(6)], opset=21, num_groups=3)
case("LpNormalization", image, p=2, axis=1)
case("LRN", image, size=3)
for op in ("MaxPool", "AveragePool"):
    case(op, image, kernel_shape=[2, 2], strides=[2, 2])
    case(op, image, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
    case(op, image, kernel_shape=[3, 2], auto_pad="SAME_UPPER", strides=[2, 2])
case("AveragePool", image, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
case("GlobalAveragePool", image)
case("GlobalMaxPool", image)
for axis in (1, -1, 0):
    case("Softmax", image, axis=axis)
    case("Softmax", image, opset=11, axis=max(axis, 0))
    case("LogSoftmax", image, axis=axis)
# reductions
for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
           "ReduceLogSumExp"):
    case(op, image, [L(1, -1)], opset=18, keepdims=0)
    case(op, image, [L(2, 3)], opset=18)
    case(op, image, opset=18)
    if op != "ReduceSum":
        case(op, image, opset=11, axes=[2, 3], keepdims=0)
case("ReduceLogSum", np.abs(image), [L(1)], opset=18)
case("ArgMax", image, axis=1)
case("ArgMin", image, axis=-1, keepdims=0)
case("ArgMax", ints(0, 3, 4, 6), axis=1, select_last_index=1)
case("CumSum", image, [S(2, i64)])
case("CumSum", image, [S(1, i64)], exclusive=1, reverse=1)
case("TopK", image, [L(3)], outputs=2, axis=2)
case("TopK", image, [L(2)], outputs=2, axis=1, largest=0)
# moves
case("Transpose", image)
case("Transpose", image, perm=[0, 2, 3, 1])
case("Transpose", ints(0, 9, 2, 3, 4), perm=[1, 2, 0])
case("Reshape", image, [L(0, -1, 4)])
case("Reshape", image, [L(2, 54, 8)])
case("Flatten", image, axis=2)
case("Squeeze", real(1, 3, 1, 2), [L(0, 2)])
case("Squeeze", real(1, 3, 1, 2))
case("Squeeze", real(1, 3, 1, 2), opset=11, axes=[0])
case("Unsqueeze", real(3, 2), [L(0, -1)])
case("Concat", [image, real(2, 3, 9, 8)], axis=1)
case("Concat", [image, image], axis=-1)
case("Split", image, [L(1, 2, 3)], outputs=3, axis=1)
case("Split", image, outputs=2, axis=1, num_outputs=2)
case("Split", image, outputs=2, opset=11, axis=1, split=[2, 4])
case("Slice", image, [L(1, 6), L(5, 0), L(1, 3), L(2, -2)])
case("Slice", image, [L(-3), L(2**62), L(2)])
case("Slice", image, opset=9, starts=[1, 2], ends=[5, 7], axes=[1, 3])
for mode in ("constant", "reflect", "edge", "wrap"):
    case("Pad", image, [L(0, 0, 2, 1, 0, 0, 1, 3)], mode=mode)
case("Pad", image, [L(0, 0, -2, 1, 0, 0, 1, -3), S(4.5)])
case("Pad", image, [L(1, 2, 1, 2), S(1.5), L(2, 3)])
case("Tile", real(2, 3), [L(2, 3)])
case("Expand", real(3, 1), [L(2, 3, 4)])
case("Gather", image, [ints(-9, 9, 2, 3)], axis=2)
case("Gather", image, [S(1, i64)], axis=1)
case("GatherElements", image, [ints(0, 6, 2, 4, 9, 8)], axis=1)
case("GatherND", image, [ints(0, 2, 5, 2)])
case("GatherND", image, [ints(0, 6, 2, 3, 1)], batch_dims=1)
case("ScatterND", image, [L(1, 0).reshape(2, 1), real(2, 6, 9, 8)])
case("ScatterElements", real(3, 4), [L(1, 0, 2, 1).reshape(1, 4), real(1, 4)], axis=0)
case("OneHot", ints(-3, 3, 2, 3), [S(5, i64), S([0, 2])], axis=1)
case("DepthToSpace", real(2, 8, 3, 4), blocksize=2)
case("DepthToSpace", real(2, 8, 3, 4), blocksize=2, mode="CRD")
case("SpaceToDepth", real(2, 3, 4, 6), blocksize=2)
case("Shape", image)
case("Shape", image, start=1, end=-1)
case("Size", image)
case("ConstantOfShape", [], [L(2, 3)], value=numpy_helper.from_array(np.array([7], dtype=i64)))
case("Range", [], [S(1, i64), S(17, i64), S(3, i64)])
case("Cast", image * 9, to=TensorProto.INT32)
case("Cast", ints(-5, 5, 3, 4), to=TensorProto.FLOAT)
case("Cast", ints(-1, 2, 3, 4), to=TensorProto.BOOL)
case("IsNaN", S([1, np.nan, 2]))
case("IsInf", S([1, np.inf, -np.inf]))
# resizing
for mode in ("nearest", "linear", "cubic"):
    for coordinates in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
        case("Resize", image, [None, S([1, 1, 1.7, 2.3])], mode=mode, coordinate_transformation_mode=coordinates)
        case("Resize", image, [None, None, L(2, 6, 5, 13)], mode=mode, coordinate_transformation_mode=coordinates)
for nearest in ("floor", "ceil", "round_prefer_ceil"):
    case("Resize", image, [None, S([1, 1, 1.7, 2.3])], mode="nearest", nearest_mode=nearest,
         coordinate_transformation_mode="asymmetric")
case("Resize", image, [S([1, 1, 2, 2])], opset=10, mode="nearest")
case("Upsample", image, [S([1, 1, 2, 2])], opset=9, mode="nearest")
case("Upsample", image, [S([1, 1, 2, 2])], opset=9, mode="linear")
# quantised
case("QuantizeLinear", image, [S(0.03), S(120, u8)])
case("QuantizeLinear", image, [np.abs(real(6)) + f32(0.01), ints(-9, 9, 6, dtype=i8)], axis=1)
case("DequantizeLinear", ints(0, 255, 2, 6, 3, dtype=u8), [S(0.03), S(120, u8)])
case("DequantizeLinear", ints(-99, 99, 2, 6, 3, dtype=i8), [np.abs(real(6)), ints(-9, 9, 6, dtype=i8)], axis=1)
case("DynamicQuantizeLinear", image, outputs=3)
byte_image = ints(0, 255, 2, 6, 9, 8, dtype=u8)
case("ConvInteger", byte_image, [ints(-99, 99, 4, 6, 3, 3, dtype=i8), S(110, u8)], pads=[1, 1, 1, 1])
case("MatMulInteger", ints(0, 255, 5, 7, dtype=u8), [ints(-99, 99, 7, 3, dtype=i8), S(110, u8)])
# Weights of 7 bits: with 8, ONNX Runtime saturates sums of pairs on processors with AVX2 alone.
case("QLinearConv", byte_image, [S(0.02), S(120, u8), ints(-63, 63, 4, 6, 3, 3, dtype=i8), np.abs(real(4)) * f32(0.01),
                                 ints(0, 1, 4, dtype=i8), S(0.2), S(100, u8), ints(-999, 999, 4, dtype=i32)])
case("QLinearMatMul", ints(0, 255, 5, 7, dtype=u8), [S(0.02), S(120, u8), ints(0, 255, 7, 3, dtype=u8), S(0.03),
                                                     S(90, u8), S(0.2), S(100, u8)])
ms = "com.microsoft"
for op in ("QLinearAdd", "QLinearMul"):
    case(op, byte_image, [S(0.02), S(120, u8), ints(0, 255, 6, 1, 1, dtype=u8), S(0.05), S(90, u8), S(0.1), S(60, u8)],
         domain=ms)
case("QLinearSigmoid", byte_image, [S(0.02), S(120, u8), S(0.004), S(0, u8)], domain=ms)
case("QLinearLeakyRelu", byte_image, [S(0.02), S(120, u8), S(0.03), S(20, u8)], domain=ms, alpha=0.1)
case("QLinearGlobalAveragePool", byte_image, [S(0.02), S(120, u8), S(0.01), S(128, u8)], domain=ms, channels_last=0)
case("QLinearAveragePool", byte_image, [S(0.02), S(120, u8), S(0.015), S(110, u8)], domain=ms, kernel_shape=[3, 3],
     strides=[2, 2])
case("QGemm", ints(0, 255, 5, 7, dtype=u8), [S(0.02), S(120, u8), ints(-63, 63, 7, 3, dtype=i8), S(0.03), S(0, i8),
                                             ints(-99, 99, 3, dtype=i32), S(0.2), S(100, u8)], domain=ms, alpha=1.0)


def build(op, x, constants, opset, outputs, domain, attributes):
    inputs = [helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
              for i, v in enumerate(x)]
    names = [f"x{i}" for i in range(len(x))] + ["" if c is None else f"c{i}" for i, c in enumerate(constants)]
    weights = [numpy_helper.from_array(c, f"c{i}") for i, c in enumerate(constants) if c is not None]
    node = helper.make_node(op, names, [f"y{i}" for i in range(outputs)], domain=domain, **attributes)
    graph = helper.make_graph([node], op, inputs, [onnx.ValueInfoProto(name=f"y{i}") for i in range(outputs)], weights)
    sets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(ms, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


def check(label, golden, outputs):
    for g, y in zip(golden, outputs):
        if g.shape != y.shape or g.dtype != y.dtype:
            return f"{y.dtype}{list(y.shape)}, expected {g.dtype}{list(g.shape)}"
        if g.dtype.kind == "f":
            tolerance = 2e-5 * max(1.0, float(np.abs(g[np.isfinite(g)]).max(initial=0)))
            if not np.allclose(y, g, atol=tolerance, rtol=2e-5, equal_nan=True):
                return f"differs by {np.nanmax(np.abs(y - g)):g}"
        elif g.dtype in (u8, i8) and "Linear" in label or "QGemm" in label:
            if np.abs(g.astype(int) - y.astype(int)).max(initial=0) > 1:  # ties are rounded after other sums
                return "differs by more than one step"
        elif not np.array_equal(g, y):
            return "differs"
    return None


with tempfile.TemporaryDirectory() as folder:
    for number, (op, x, constants, opset, outputs, domain, attributes) in enumerate(cases):
        if only and only != op:
            continue
        label = f"{op} #{number} {attributes if attributes else ''} opset {opset}"
        model = build(op, x, constants, opset, outputs, domain, attributes)
        path = os.path.join(folder, "m.onnx")
        onnx.save(model, path)
        try:
            session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
            golden = session.run(None, {f"x{i}": v for i, v in enumerate(x)})
        except Exception as e:
            print(f"FAIL {label}: the case itself is wrong: {str(e)[:200]}")
            failed += 1
            continue
        for i, v in enumerate(x):
            np.save(os.path.join(folder, f"x{i}.npy"), v)
        done = subprocess.run([program, "run", path, *(os.path.join(folder, f"x{i}.npy") for i in range(len(x))), "-o",
                               os.path.join(folder, "y")], capture_output=True, text=True)
        if done.returncode:
            problem = done.stderr.strip()
        else:
            problem = check(label, golden, [np.load(os.path.join(folder, f"y{i}.npy")) for i in range(outputs)])
        passed, failed = passed + (problem is None), failed + (problem is not None)
        if problem:
            print(f"FAIL {label}: {problem}")
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(1 if failed else 0)
