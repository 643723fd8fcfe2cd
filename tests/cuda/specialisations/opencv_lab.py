from . import Specialisation

SPECIALISATIONS = [
    Specialisation("opencv_lab", kernel, {"AXES": axes}, threads=256)
    for kernel in ("opencv_bgr_to_lab", "opencv_lab_to_bgr")
    for axes in (1, 2, 3)
]
