"""Builds the extension `fastimg._fastimg_cpu`; everything else stands in pyproject.toml."""

import os
from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import find_packages, setup

# No -march and no -ffast-math: kernels choose their instruction set at run time (csrc/cpu/support/foreach_target.hpp).
extension = Pybind11Extension(
    "fastimg._fastimg_cpu",
    sources=sorted(glob("csrc/**/*.cpp", recursive=True)),
    depends=["setup.py", *glob("csrc/**/*.hpp", recursive=True), *glob("csrc/**/*.inl", recursive=True)],
    include_dirs=["csrc/cpu"],
    cxx_std=17,
    extra_compile_args=[
        "-std=gnu++17",
        "-O3",
        "-g0",
        "-ffp-contract=fast",
        "-fno-math-errno",
        "-fno-ipa-icf",  # it gives a function the value ranges of its twin: GCC bug 113907, wrong code in GCC 12
        "-Wall",
        "-Wextra",
        "-Wno-maybe-uninitialized",  # false alarms from GCC 12's own AVX-512 headers
    ],
    extra_link_args=["-pthread"],
)

# The v4 kernels for a processor without AVX-512, to be tested, not to be used.
if os.environ.get("FASTIMG_EMULATE_AVX512"):
    extension.depends += ["tools/avx512_emulation.hpp"]
    extension.extra_compile_args += [
        "-DFASTIMG_EMULATE_AVX512",
        "-include",
        "tools/avx512_emulation.hpp",
        "-Wno-psabi",
        "-Wno-ignored-attributes",
    ]

# CUDA kernels are compiled on the user's machine: the wheel carries their sources beside the code that launches them.
kernels = {"fastimg.backends.cuda.kernels": "csrc/cuda", "fastimg.backends.cuda.kernels.support": "csrc/cuda/support"}

ParallelCompile("FASTIMG_BUILD_JOBS", default=0).install()
setup(
    ext_modules=[extension],
    packages=[*find_packages(include=["fastimg*"]), *kernels],
    package_dir=kernels,
    package_data={
        "fastimg": ["py.typed", "*.pyi", "benchmarks/*.json", "models/weights/*"],
        **{package: ["*.cu", "*.cuh"] for package in kernels},
    },
)
