"""Reading the protobuf wire format: numbered fields, of which only the lengths and numbers are interpreted.

A message is a sequence of (key, value); key = number << 3 | wire type. Reference:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Message:
    """The fields of one message, by number, in the order in which they came.

    Raises
    ------
    ValueError
        If the bytes are not a message.
    """

    def __init__(self, data: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _read(data):
            self._fields.setdefault(number, []).append(value)

    def numbers(self, field: int) -> list[int]:
        """All values of an integer field, packed or not."""
        values: list[int] = []
        for value in self._fields.get(field, []):
            values += [value] if isinstance(value, int) else _varints(value)
        return values

    def number(self, field: int, default: int = 0) -> int:
        """The value of an integer field."""
        return (self.numbers(field) or [default])[-1]

    def all_bytes(self, field: int) -> list[bytes]:
        """All values of a field of strings, bytes, messages, or packed or fixed-width numbers."""
        values = self._fields.get(field, [])
        if any(isinstance(value, int) for value in values):
            raise ValueError(f"field {field} is a number where bytes were expected")
        return [value for value in values if isinstance(value, bytes)]

    def bytes(self, field: int) -> bytes:
        """The value of such a field; empty if it is absent."""
        return (self.all_bytes(field) or [b""])[-1]

    def text(self, field: int) -> str:
        """The value of a string field."""
        return self.bytes(field).decode("utf-8")

    def messages(self, field: int) -> list[Message]:
        """All values of a field of messages."""
        return [Message(value) for value in self.all_bytes(field)]

    def message(self, field: int) -> Message:
        """The value of a field that holds a message; an empty one if it is absent."""
        return Message(self.bytes(field))


def _read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("field number 0")
        if wire_type == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            length, at = _varint(data, at)
        elif wire_type in (_FIXED32, _FIXED64):
            length = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {wire_type}")
        if at + length > len(data):
            raise ValueError(f"field {number} ends {at + length - len(data)} bytes after the data")
        yield number, data[at : at + length]
        at += length


def _varints(data: bytes) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at == len(data):
            raise ValueError("the data ends within a number")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number of more than ten bytes")
