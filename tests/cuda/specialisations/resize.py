from . import Specialisation

_TYPES = [("uint8_t", "uint8_t"), ("uint8_t", "float"), ("uint16_t", "uint16_t"), ("half", "half"), ("float", "float")]


def _both_passes(types: tuple[str, str], channels: int, columns_first: int, taps: int, dense: int) -> Specialisation:
    definitions = {
        "IN": types[0],
        "OUT": types[1],
        "CHANNELS": channels,
        "DENSE": dense,
        "COLUMNS_FIRST": columns_first,
        "TAPS": taps,
    }
    return Specialisation("resize", "resize", definitions, threads=256, shared_memory=32 << 10)


SPECIALISATIONS = [
    Specialisation("resize", "resize_weights", {}, threads=128),
    *(_both_passes(types, channels, 0, 4, 1) for types in _TYPES for channels in (1, 3)),
    *(_both_passes(types, 1, 0, taps, dense) for types in (_TYPES[0], _TYPES[4]) for taps, dense in ((8, 1), (0, 0))),
    *(_both_passes(types, 3, 1, taps, 1) for types in (_TYPES[0], _TYPES[4]) for taps in (4, 0)),
    _both_passes(_TYPES[2], 1, 0, 0, 0),
    Specialisation("resize", "resize_first_pass", {"IN": "uint8_t", "OUT": "uint8_t"}, threads=256),
    Specialisation("resize", "resize_second_pass", {"IN": "float", "OUT": "float"}, threads=256),
]
