"""The smallest embedder there can be, as an ONNX file: what a call costs when its network costs nothing."""


def _varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def _field(number, value):
    """A field of protocol buffers: a number, a string, or a message given as bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _node(kind, source, target, **lists):
    attributes = b"".join(_field(5, _field(1, name) + b"".join(_field(8, n) for n in numbers) + _field(20, 7))
                          for name, numbers in lists.items())
    return _field(1, _field(1, source) + _field(2, target) + _field(4, kind) + attributes)


def _tensor(number, name, shape):
    dims = b"".join(_field(1, _field(1, n)) for n in shape)
    return _field(number, _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims))))


def write(path):
    """16 x 16 pixels to the means of four quarters: 12 numbers."""
    graph = (_node("AveragePool", "x", "p", kernel_shape=(8, 8), strides=(8, 8)) + _node("Flatten", "p", "y") +
             _field(2, "tiny") + _tensor(11, "x", (1, 3, 16, 16)) + _tensor(12, "y", (1, 12)))
    with open(path, "wb") as file:
        file.write(_field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13)))
