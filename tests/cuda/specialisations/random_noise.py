from . import Specialisation

_TYPES = [
    ("uint8_t", "uint8_t"),
    ("uint8_t", "float"),
    ("uint16_t", "uint16_t"),
    ("half", "half"),
    ("float", "float"),
]
_GAUSSIAN, _LOCAL, _SPECKLE, _POISSON, _IMPULSES, _COUNTED = range(6)

SPECIALISATIONS = [
    *(
        Specialisation("random_noise", "random_noise", {"IN": a, "OUT": b, "AXES": axes, "MODE": mode}, threads=256)
        for a, b in _TYPES
        for mode, axes in ((_GAUSSIAN, 1), (_GAUSSIAN, 2), (_IMPULSES, 1))
        if axes == 1 or a == "float"
    ),
    *(
        Specialisation("random_noise", "random_noise", {"IN": a, "OUT": a, "AXES": axes, "MODE": mode}, threads=256)
        for a, mode, axes in (
            ("float", _LOCAL, 1),
            ("float", _SPECKLE, 1),
            ("float", _COUNTED, 1),
            ("float", _POISSON, 1),
            ("float", _POISSON, 2),
            ("uint8_t", _POISSON, 1),
        )
    ),
    Specialisation("random_noise", "random_noise_impulses", {"OUT": "float", "AXES": 1}, threads=256),
    Specialisation("random_noise", "random_noise_extremes", {"IN": "float", "AXES": 1}, threads=1024),
]
