"""The smallest networks that are real ones, for tests that want a file to move about."""
import struct


def _field(number, value):
    """A field of a protobuf message: an integer, or bytes."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def _tensor_value(name, count):
    dims = b"".join(_field(1, _field(1, d)) for d in (1, count))
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))


def network(count=1000, seed=1):
    """An ONNX file that adds `count` numbers to its input: about 4 * count bytes, by `seed`."""
    numbers = b"".join(struct.pack("<f", (i * 7919 + seed * 104729) % 65521 / 65521) for i in range(count))
    weights = _field(1, 1) + _field(1, count) + _field(2, 1) + _field(8, b"w") + _field(9, numbers)
    node = _field(1, b"x") + _field(1, b"w") + _field(2, b"y") + _field(3, b"add") + _field(4, b"Add")
    graph = (_field(1, node) + _field(2, b"tiny") + _field(5, weights)
             + _field(11, _tensor_value(b"x", count)) + _field(12, _tensor_value(b"y", count)))
    return _field(1, 8) + _field(8, _field(1, b"") + _field(2, 13)) + _field(7, graph)
