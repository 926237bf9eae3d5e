"""An embedder that answers nothing, for what is said of faces without a template. Needs no package."""
import struct


def write_dull_embedder(name):
    """A network for which no crop is bright enough: relu(x - 2) of pixels up to 1, so every template is zeros."""
    def field(number, value):
        def varint(n):
            return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)
        value = value.encode() if isinstance(value, str) else value
        return varint(number << 3) + varint(value) if isinstance(value, int) else varint(number << 3 | 2) + varint(len(value)) + value

    def node(kind, takes, gives, **ints):
        return field(1, b"".join(field(1, x) for x in takes.split()) + field(2, gives) + field(4, kind) + b"".join(
            field(5, field(1, k) + b"".join(field(8, v) for v in values) + field(20, 7)) for k, values in ints.items()))

    def weights(name, dims, values):
        return field(5, b"".join(field(1, d) for d in dims) + field(2, 1) + field(8, name) +
                     field(9, struct.pack(f"<{len(values)}f", *values)))

    def tensor(number, name, *dims):
        shape = b"".join(field(1, field(1, d)) for d in dims)
        return field(number, field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))

    graph = (node("Conv", "x w b", "c") + node("Relu", "c", "r") +
             node("AveragePool", "r", "p", kernel_shape=(28, 28), strides=(28, 28)) + node("Flatten", "p", "y") +
             field(2, "dull") + weights("w", (3, 3, 1, 1), (1, 0, 0, 0, 1, 0, 0, 0, 1)) + weights("b", (3,), (-2, -2, -2)) +
             tensor(11, "x", 1, 3, 112, 112) + tensor(12, "y", 1, 48))
    with open(name, "wb") as f:
        f.write(field(1, 8) + field(7, graph) + field(8, field(2, 13)))
