"""Every kernel compiles for every architecture, without spills, and needs no more than the table says."""

from __future__ import annotations

import pytest
import resources

pytest.importorskip("cuda.bindings.nvrtc", reason="needs NVRTC")


@pytest.fixture(scope="module")
def outcomes() -> list[resources.Outcome]:
    return list(resources.examine_all())


def key(row: resources.Resources) -> tuple[str, str, str]:
    return row.kernel, row.definitions, row.architecture


def test_nothing_is_spilled(outcomes):
    """A stack frame is an array indexed at run time: local memory."""
    assert [o.row for o in outcomes if o.row.stack or o.row.spills or o.local] == []


def test_the_instructions_meant_are_there(outcomes):
    assert [(key(o.row), o.missing) for o in outcomes if o.missing] == []


def test_needs_no_more_than_the_table_says(outcomes):
    """Run `python tests/cuda/resources.py` after a change to a kernel, and look at what it changed."""
    table = {key(row): row for row in resources.read_table()}
    assert set(table) == {key(o.row) for o in outcomes}
    for outcome in outcomes:
        row, allowed = outcome.row, table[key(outcome.row)]
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
