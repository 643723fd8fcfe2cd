"""Every kernel compiles for every architecture, without spills, and needs no more than the table says."""

from __future__ import annotations

import os

import pytest
import resources

pytest.importorskip("cuda.bindings.nvrtc", reason="needs NVRTC")


@pytest.fixture(scope="module")
def table() -> list[resources.Resources]:
    return resources.read_table()


@pytest.fixture(scope="module")
def compiled() -> list[resources.Resources]:
    """One specialisation of every kernel, or all of them where FASTIMG_ALL_SPECIALISATIONS is set."""
    everything = "FASTIMG_ALL_SPECIALISATIONS" in os.environ
    return list(resources.examine_all(resources.specialisations() if everything else resources.one_of_each_kernel()))


def test_the_table_is_of_these_sources(table):
    """Run `python tests/cuda/resources.py` after a change to a kernel, and look at what it changed."""
    stale = {row.kernel for row in table if row.fingerprint != resources.fingerprint(row.kernel.partition(":")[0])}
    assert stale == set()


def test_the_table_has_every_specialisation_on_every_architecture(table):
    assert {row.key for row in table} == {key for s in resources.specialisations() for key in resources.keys(s)}


def test_every_kernel_fits_a_multiprocessor(table):
    assert [row for row in table if row.occupancy == 0] == []


def test_no_local_memory_is_used(table, compiled):
    """For what is spilled, or for an array indexed at run time: a stack frame."""
    assert [row for row in table + compiled if row.stack or row.spills or row.local] == []


def test_the_instructions_meant_are_there(table, compiled):
    assert [row for row in table + compiled if row.missing] == []


def test_needs_no_more_than_the_table_says(table, compiled):
    rows = {row.key: row for row in table}
    for row in compiled:
        allowed = rows[row.key]
        assert row.registers <= allowed.registers, row
        assert row.static_shared <= allowed.static_shared, row
        assert row.dynamic_shared <= allowed.dynamic_shared, row
        assert row.occupancy >= allowed.occupancy, row


def test_occupancy_is_that_of_the_occupancy_calculator():
    """Known values of NVIDIA's calculator (cuda_occupancy.h): 128 threads, 96 registers, 28 KiB."""
    kernel = resources.Specialisation("", "", {}, threads=128, shared_memory=28 << 10)
    blocks = {"sm_90a": 5, "sm_89": 3, "sm_75": 2}
    for architecture, expected in blocks.items():
        threads = resources.MULTIPROCESSORS[architecture].threads
        assert resources.occupancy(architecture, kernel, 96, 0) == round(100 * expected * 128 / threads)
