from . import Specialisation

_TYPES = [("uint8_t", "uint8_t"), ("uint8_t", "float"), ("uint16_t", "uint16_t"), ("half", "half"), ("float", "float")]
_AFFINE, _PROJECTIVE, _EXACT, _TABLE = range(4)


def _warp(types: tuple[str, str], channels: int, taps: int, kind: int) -> Specialisation:
    definitions = {"IN": types[0], "OUT": types[1], "CHANNELS": channels, "TAPS": taps, "MAP": kind}
    return Specialisation("warp", "warp", definitions, threads=256)


_MOST_USED = (_TYPES[0], _TYPES[4])

SPECIALISATIONS = [
    *(_warp(types, channels, 2, _AFFINE) for types in _TYPES for channels in (1, 3)),
    *(_warp(types, channels, taps, _AFFINE) for types in _MOST_USED for channels in (1, 3) for taps in (1, 4, 6)),
    *(_warp(types, 4, taps, _AFFINE) for types in _MOST_USED for taps in (2, 4, 6)),
    *(_warp(types, 3, 2, kind) for types in _MOST_USED for kind in (_PROJECTIVE, _TABLE)),
    *(_warp(types, 0, taps, _AFFINE) for types in _MOST_USED for taps in (2, 4, 6)),
    _warp(_TYPES[0], 3, 1, _EXACT),
    *(
        Specialisation("warp", "warp_extremes", {"IN": sample, "AXES": axes}, threads=1024)
        for sample in ("uint8_t", "float")
        for axes in (1, 3)
    ),
]
