from . import Specialisation


def _fused(dtype: str, map_wanted: int, weighted: int, radius: int, row_radius: int | None = None) -> Specialisation:
    definitions = {
        "IN": dtype,
        "MAP": map_wanted,
        "WEIGHTED": weighted,
        "RADIUS": radius,
        "ROW_RADIUS": radius if row_radius is None else row_radius,
    }
    return Specialisation(
        "structural_similarity", "structural_similarity", definitions, threads=128, instructions=("LDS.128",)
    )


SPECIALISATIONS = [
    *(
        _fused(dtype, 0, weighted, 3 + 2 * weighted)
        for dtype in ("uint8_t", "uint16_t", "half", "float")
        for weighted in (0, 1)
    ),
    _fused("uint8_t", 1, 0, 3),
    _fused("float", 1, 1, 5),
    _fused("float", 1, 0, 10),
    _fused("float", 1, 1, 10),
    _fused("float", 0, 0, 5, 0),
    Specialisation(
        "structural_similarity", "structural_similarity_any", {"IN": "float", "MAP": 1, "WEIGHTED": 1}, threads=256
    ),
    Specialisation("structural_similarity", "mean_of_shares", {"IN": "float", "MAP": 1, "WEIGHTED": 1}, threads=1024),
]
