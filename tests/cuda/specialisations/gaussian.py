from . import ARCHITECTURES, Specialisation


def _both_axes(
    image: str, result: str, distance: int, x: int, y: int, tile: str | None = None, **odd: int
) -> Specialisation:
    """Shared memory as fastimg/backends/cuda/gaussian.py counts it."""
    tile = tile or image
    size = {"uint8_t": 1, "uint16_t": 2, "half": 2, "float": 4}[tile]
    pieces = (128 * size + 2 * 16 * -(-x * distance * size // 16)) // 16
    return Specialisation(
        "gaussian",
        "gaussian",
        {"IN": image, "OUT": result, "TILE": tile, "DISTANCE": distance, "X_RADIUS": x, "Y_RADIUS": y, **odd},
        threads=128,
        shared_memory=(32 + -(-2 * y // 8) * 8) * 132 * 4 + 32 * (pieces | 1) * 16,
        instructions=(
            "LDS.128",
            "LDGSTS.E.BYPASS.128" if tile == image else "LDG.E",
            "STG.E.128" if result == "float" else "STG.E",
        ),
        # From sm_80 on: the largest window and tile together need more than the 64 KiB of sm_75.
        architectures=ARCHITECTURES[1:] if x == y == 24 and tile == "float" else ARCHITECTURES,
    )


SPECIALISATIONS = [
    *(_both_axes(t, t, 1, 4, 4) for t in ("uint8_t", "uint16_t", "half", "float")),
    *(_both_axes(t, t, 1, 12, 12) for t in ("uint8_t", "float")),
    *(_both_axes("uint8_t", "uint8_t", 3, r, r) for r in (4, 12, 24)),
    *(_both_axes("float", "float", 3, r, r) for r in (4, 24)),
    _both_axes("uint8_t", "float", 3, 4, 4),
    _both_axes("uint8_t", "uint8_t", 4, 4, 4),
    _both_axes("uint8_t", "uint8_t", 1, 4, 4, tile="float"),
    _both_axes("float", "float", 1, 24, 24),
    _both_axes("float", "float", 1, 4, 4, X_ODD=1),
    _both_axes("float", "float", 1, 12, 12, Y_ODD=1),
    _both_axes("float", "float", 1, 0, 4),
    _both_axes("float", "float", 1, 4, 0),
    *(
        Specialisation(
            "gaussian",
            kernel,
            {"IN": image, "OUT": result},
            threads=256,
            instructions=("LDS.128", "LDG.E.128" if image == "float" else "LDG.E"),
        )
        for kernel in ("gaussian_rows", "gaussian_columns")
        for image, result in (("float", "float"), ("uint8_t", "float"), ("float", "uint8_t"))
    ),
    Specialisation("gaussian", "gaussian_taps", {"IN": "float", "OUT": "float"}, threads=128),
]
