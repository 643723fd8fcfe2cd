"""Builds the extension `fastimg._fastimg_cpu`; everything else stands in pyproject.toml."""

from glob import glob

from pybind11.setup_helpers import ParallelCompile, Pybind11Extension
from setuptools import setup

# No -march and no -ffast-math: kernels choose their instruction set at run time (csrc/cpu/support/foreach_target.hpp).
extension = Pybind11Extension(
    "fastimg._fastimg_cpu",
    sources=sorted(glob("csrc/**/*.cpp", recursive=True)),
    depends=sorted(glob("csrc/**/*.hpp", recursive=True) + glob("csrc/**/*.inl", recursive=True)),
    include_dirs=["csrc/cpu"],
    cxx_std=17,
    extra_compile_args=[
        "-std=gnu++17",
        "-O3",
        "-g0",
        "-ffp-contract=fast",
        "-fno-math-errno",
        "-Wall",
        "-Wextra",
        "-Wno-maybe-uninitialized",  # false alarms from GCC 12's own AVX-512 headers
    ],
    extra_link_args=["-pthread"],
)

ParallelCompile("FASTIMG_BUILD_JOBS", default=0).install()
setup(ext_modules=[extension])
