"""Writing TensorFlow graphs in the protobuf wire format, as far as the tests need them."""

import numpy as np


def varint(number):
    result = b""
    while number > 0x7F:
        result += bytes([number & 0x7F | 0x80])
        number >>= 7
    return result + bytes([number])


def field(number, value):
    """One protobuf field: an int, or bytes or text or a list of fields."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b"".join(value)
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(name, op, inputs=(), **attributes):
    entries = [field(5, [field(1, key), field(2, value)]) for key, value in attributes.items()]
    return field(1, [field(1, name), field(2, op), *(field(3, i) for i in inputs), *entries])


def constant(name, array):
    shape = [field(2, [field(1, int(n))]) for n in array.shape]
    tensor = [field(1, 1), field(2, shape), field(4, array.astype("<f4").tobytes())]
    return node(name, "Const", value=[field(8, tensor)])


def convolution(name, source, weight, *, padding=b"SAME", strides=(1, 1, 1, 1)):
    def numbers(values):
        return [field(1, [field(3, b"".join(map(varint, values)))])]

    return constant(f"{name}/w", weight.transpose(2, 3, 1, 0)) + node(
        name,
        "Conv2D",
        [source, f"{name}/w"],
        strides=numbers(strides),
        dilations=numbers((1, 1, 1, 1)),
        padding=[field(2, padding)],
        data_format=[field(2, b"NHWC")],
    )


def prelu(name, source, slope):
    return b"".join(
        [
            constant(f"{name}/alpha", slope),
            constant(f"{name}/half", np.float32(0.5)),
            node(f"{name}/abs", "Abs", [source]),
            node(f"{name}/sub", "Sub", [source, f"{name}/abs"]),
            node(f"{name}/mul", "Mul", [f"{name}/alpha", f"{name}/sub"]),
            node(f"{name}/mul_1", "Mul", [f"{name}/mul", f"{name}/half"]),
            node(f"{name}/relu", "Relu", [source]),
            node(name, "Add", [f"{name}/relu", f"{name}/mul_1"]),
        ]
    )
