"""Those of gaussian_recursive.cu: images and volumes in each dtype, interleaved channels."""

from . import Specialisation


def _along(kernel: str, image: str, result: str, channels: int = 1, axes: int = 1) -> Specialisation:
    return Specialisation(
        "gaussian_recursive",
        f"gaussian_recursive_{kernel}",
        {"IN": image, "OUT": result, "CHANNELS": channels, "AXES": axes},
        threads=128,
        instructions=("FFMA", "LDG.E", "STG.E", *(("LDS", "STS") if kernel == "rows" else ())),
    )


SPECIALISATIONS = [
    *(_along(kernel, "float", "float") for kernel in ("rows", "columns")),
    *(_along(kernel, "uint8_t", "float") for kernel in ("rows", "columns")),
    *(_along(kernel, "float", "uint8_t") for kernel in ("rows", "columns")),
    *(_along("rows", "float", "float", channels) for channels in (3, 4)),
    _along("rows", "half", "float"),
    _along("columns", "float", "half", axes=3),
]
