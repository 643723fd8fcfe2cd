from . import Specialisation

SPECIALISATIONS = [
    Specialisation(
        "mean_squared_error",
        "mean_squared_error",
        {"IN": dtype, "AXES": axes},
        threads=256,
        instructions=("LDG.E.128",),
    )
    for dtype in ("uint8_t", "uint16_t", "half", "float")
    for axes in (1, 2, 3)
    if axes < 3 or dtype in ("uint8_t", "float")
] + [Specialisation("mean_squared_error", "mean_of_shares", {"IN": "float", "AXES": 1}, threads=1024)]
