from . import Specialisation

# fastimg/backends/cuda/denoise_nl_means.py chooses the numbers: columns, rows, steps, offsets down, blocks on an SM.
_FLOATS = {
    (1, 4): (4, 6, 3, 23, 3),
    (1, 6): (4, 5, 3, 23, 3),
    (1, 7): (4, 6, 3, 23, 2),
    (1, 10): (4, 6, 3, 23, 2),
    (1, 16): (4, 5, 3, 23, 2),
    (3, 6): (2, 6, 2, 12, 2),
    (3, 10): (2, 5, 1, 12, 2),
}
_HALVES = {
    (1, 6): (2, 6, 3, 23, 3),
    (1, 8): (2, 6, 3, 23, 3),
    (1, 16): (2, 6, 3, 23, 2),
    (3, 6): (1, 6, 2, 23, 3),
    (3, 9): (1, 6, 2, 23, 2),
}


def _strips(image: str, result: str, channels: int, patch: int, excess: int, packed: bool = False) -> Specialisation:
    columns, rows, steps, span_y, blocks = (_HALVES if packed else _FLOATS)[channels, patch]
    return Specialisation(
        "denoise_nl_means",
        "denoise_nl_means_strips",
        {
            "STRIPS": 1,
            "PACKED": int(packed),
            "IN": image,
            "OUT": result,
            "EXCESS": excess,
            "CHANNELS": channels,
            "BEFORE": (patch - 1) // 2,
            "AFTER": patch // 2,
            "COLUMNS": columns,
            "ROWS": rows,
            "STEPS": steps,
            "SPAN_Y": span_y,
            "SPAN_X": 24,
            "MIN_BLOCKS": blocks,
        },
        threads=128,
        instructions=("MUFU.EX2.F16", "HFMA2", "HSET2") if packed else ("MUFU.EX2", "FFMA"),
    )


SPECIALISATIONS = [
    *(_strips("float", "float", channels, patch, 1) for channels, patch in _FLOATS),
    _strips("float", "float", 1, 6, 0),
    _strips("uint8_t", "float", 1, 6, 0),
    _strips("half", "half", 1, 6, 1),
    *(_strips("uint8_t", "uint8_t", channels, patch, 1, packed=True) for channels, patch in _HALVES),
    _strips("uint8_t", "uint8_t", 1, 6, 0, packed=True),
    *(
        Specialisation(
            "denoise_nl_means",
            "denoise_nl_means_any",
            {"STRIPS": 0, "IN": image, "OUT": result, "EXCESS": 1},
            threads=512,
            shared_memory=64 * (64 + 126 | 1) * 4,
            instructions=("MUFU.EX2",),
        )
        for image, result in (("float", "float"), ("uint8_t", "uint8_t"))
    ),
]
