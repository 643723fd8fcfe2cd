"""Those of gaussian_recursive.cu: images and volumes in each dtype, interleaved channels."""

from . import Specialisation


def _kernel(name: str, image: str, result: str, channels: int = 1, axes: int = 1) -> Specialisation:
    return Specialisation(
        "gaussian_recursive",
        f"gaussian_recursive_{name}",
        {"IN": image, "OUT": result, "CHANNELS": channels, "AXES": axes},
        threads=64 if name == "scan" else 128,
        instructions=("FFMA", "LDG.E", "STG.E", *(("LDS", "STS") if name.startswith("rows") else ())),
    )


ALL = "rows_ends", "columns_ends", "scan", "rows_filter", "columns_filter"

SPECIALISATIONS = [
    *(_kernel(name, "float", "float") for name in ALL),
    *(_kernel(name, "uint8_t", "float") for name in ALL),
    *(_kernel(name, "float", "uint8_t") for name in ("rows_filter", "columns_filter")),
    *(_kernel(f"rows_{name}", "float", "float", channels, 2) for name in ("ends", "filter") for channels in (2, 3, 4)),
    *(_kernel(f"rows_{name}", "half", "float") for name in ("ends", "filter")),
    *(_kernel(name, "float", "half", axes=3) for name in ("columns_ends", "scan", "columns_filter")),
]
