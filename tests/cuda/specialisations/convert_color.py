from . import Specialisation

_TYPES = [("uint8_t", "uint8_t"), ("uint8_t", "float"), ("uint16_t", "uint16_t"), ("half", "half"), ("float", "float")]

SPECIALISATIONS = [
    Specialisation(
        "convert_color",
        "convert_color",
        {"IN": source, "OUT": result, "FROM": channels[0], "TO": channels[1], "AXES": axes},
        threads=256,
        instructions=("LDG.E.128",) if source == "float" else (),
    )
    for source, result in _TYPES
    for channels in ((3, 3), (3, 1), (1, 3))
    for axes in (1, 2)
    if axes == 1 or channels == (3, 3)
]
