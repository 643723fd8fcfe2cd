from . import Specialisation

_PACKED, _PLANES, _ANYWHERE, _BLURRED = range(4)
_WAYS = [  # what an image is, and how it is gathered
    *((sample, 3, way) for sample in ("uint8_t", "float") for way in (_PACKED, _PLANES)),
    ("uint8_t", 1, _PLANES),
    ("half", 3, _PACKED),
    ("uint16_t", 3, _PACKED),
    ("uint8_t", 3, _ANYWHERE),
    ("float", 3, _BLURRED),
]


def _augment(kernel: str, sample: str, channels: int, way: int, **more: str) -> Specialisation:
    return Specialisation("augment", kernel, {"IN": sample, "CHANNELS": channels, "WAY": way, **more}, threads=256)


SPECIALISATIONS = [
    *(_augment("augment", *way, OUT=out) for way in _WAYS for out in dict.fromkeys(("float", way[0]))),
    *(_augment("augment", *_WAYS[-1], OUT=out) for out in ("uint8_t", "half")),
    *(_augment("augment_sums", *way) for way in _WAYS),
    *(_augment("augment_gather", *way) for way in _WAYS[:-1]),
    Specialisation("augment", "augment_offsets", {}, threads=96),
    Specialisation("augment", "augment_blur", {}, threads=256, shared_memory=4 * 8 * (256 + 2 * 8)),
    *(
        Specialisation("augment", "augment_mix", {"IN": sample, "AXES": axes}, threads=256)
        for sample in ("uint8_t", "uint16_t", "half", "float")
        for axes in (1, 3)
    ),
]
