"""The thread pool and who decides how many threads there are."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import run_python

import fastimg
from fastimg import _checks, metrics, util

A = np.random.default_rng(1).random((500, 600), "float32")
B = np.random.default_rng(2).random((500, 600), "float32")
EXPECTED = metrics.mean_squared_error(A, B, threads=1)


def compute(threads: int | None = 4) -> float:
    return metrics.mean_squared_error(A, B, threads=threads)


@pytest.fixture
def default_threads():
    """Whatever a test sets is taken back."""
    yield
    fastimg.set_num_threads(None)


def in_time(condition, seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


# ---- processes ------------------------------------------------------------------------------------------------------


def computes_in_child(child) -> bool:
    """Whether a forked child runs `child` to its end and says so; one that hangs is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if child() else 1)
        finally:
            os._exit(2)
    status: list[int] = []

    def ended() -> bool:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            status.append(code)
        return bool(done)

    if not in_time(ended):
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        return False
    return status == [0]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_child_computes():
    assert compute() == EXPECTED  # the parent's threads run
    assert computes_in_child(lambda: compute() == EXPECTED)
    assert computes_in_child(lambda: computes_in_child(lambda: compute() == EXPECTED))
    assert compute() == EXPECTED


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_in_the_midst_of_calls():
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            compute()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert all(computes_in_child(lambda: compute() == EXPECTED) for _ in range(10))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method):
    assert compute() == EXPECTED
    with multiprocessing.get_context(method).Pool(2) as pool:
        calls = [pool.apply_async(metrics.mean_squared_error, (A, B), {"threads": n}) for n in (1, 2, 4, None)]
        assert [call.get(timeout=60) for call in calls] == [EXPECTED] * 4


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_of_a_data_loader():
    torch = pytest.importorskip("torch")
    assert compute() == EXPECTED

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int):
            return util.random_noise(torch.from_numpy(A), rng=index, threads=3)

    loader = torch.utils.data.DataLoader(
        Images(), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    for index, image in enumerate(loader):
        np.testing.assert_array_equal(image.numpy(), util.random_noise(A, rng=index))


# ---- Python threads -------------------------------------------------------------------------------------------------


def test_many_python_threads_at_once():
    images = [np.random.default_rng(seed).random((200 + 10 * seed, 300), "float32") for seed in range(8)]
    expected = [util.random_noise(image, rng=1, threads=1) for image in images]

    def work(i: int) -> bool:
        k = i % len(images)
        return np.array_equal(util.random_noise(images[k], rng=1, threads=1 + i % 5), expected[k])

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(work, range(200)))


def test_the_gil_is_released():
    image = np.random.default_rng(3).random((2000, 2000))
    inside, ended = threading.Event(), threading.Event()

    def long_call() -> None:
        inside.set()
        util.random_noise(image, "poisson", 1, threads=1)
        ended.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    thread = threading.Thread(target=long_call)
    try:
        thread.start()
        inside.wait()
        steps = 0
        while not ended.is_set():
            steps += 1
            time.sleep(0.001)
    finally:
        thread.join()
        sys.setswitchinterval(interval)
    assert steps > 20  # some 200 ms of work: a call that keeps the lock would let but a few steps through


# ---- how many -------------------------------------------------------------------------------------------------------


def test_a_call_uses_as_many_as_it_says():
    code = """
import os, numpy as np
from fastimg import metrics
a = np.ones((2000, 2000), np.float32)
def count(): return len(os.listdir("/proc/self/task"))
before = count()
metrics.mean_squared_error(a, a, threads=1)
assert count() == before, "one thread is the caller"
metrics.mean_squared_error(a, a, threads=4)
assert count() == before + 3
metrics.mean_squared_error(a, a, threads=2)
assert count() == before + 3, "threads are kept"
metrics.mean_squared_error(a[:2, :2], a[:2, :2], threads=9)
assert count() == before + 3, "one task needs no helper"
"""
    result = run_python(code, FASTIMG_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr


def test_set_num_threads(default_threads):
    before = fastimg.get_num_threads()
    fastimg.set_num_threads(3)
    assert fastimg.get_num_threads() == 3
    assert compute(None) == EXPECTED
    fastimg.set_num_threads(None)
    assert fastimg.get_num_threads() == before
    for wrong, error in ((0, ValueError), (-1, ValueError), (2**40, ValueError), (1.5, TypeError), ("2", TypeError)):
        with pytest.raises(error, match="n must be"):
            fastimg.set_num_threads(wrong)
    assert fastimg.get_num_threads() == before


def test_threads_argument():
    assert compute(_checks.MAX_THREADS) == EXPECTED
    with pytest.raises(ValueError, match="threads must be at most 1024, got 1025"):
        compute(1025)
    with pytest.raises(TypeError, match="threads must be an integer, got True"):
        compute(True)


PRINT = "import fastimg; print(fastimg.get_num_threads())"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, len(os.sched_getaffinity(0))),
        ({"FASTIMG_NUM_THREADS": "5"}, 5),
        ({"FASTIMG_NUM_THREADS": "5", "OMP_NUM_THREADS": "3"}, 5),
        ({"FASTIMG_NUM_THREADS": ""}, len(os.sched_getaffinity(0))),
        ({"FASTIMG_NUM_THREADS": "1000000"}, 1024),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"OMP_NUM_THREADS": "many"}, len(os.sched_getaffinity(0))),
        ({"OMP_NUM_THREADS": "-4"}, len(os.sched_getaffinity(0))),
    ],
)
def test_environment(environment, expected):
    result = run_python(PRINT, **environment)
    assert (result.stdout.strip(), result.stderr) == (str(expected), "")


@pytest.mark.parametrize("wrong", ["many", "0", "-1", "2.5", "4,2", "3 threads"])
def test_environment_without_sense(wrong):
    result = run_python(PRINT, FASTIMG_NUM_THREADS=wrong)
    expected = f"environment variable FASTIMG_NUM_THREADS must be a whole number of at least 1, got '{wrong}'"
    assert result.stderr.splitlines()[-1] == f"ImportError: {expected}"


def test_affinity():
    one = min(os.sched_getaffinity(0))
    result = run_python(f"import os; os.sched_setaffinity(0, {{{one}}}); {PRINT}")
    assert result.stdout.strip() == "1"


def test_threadpoolctl(default_threads):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    importlib.import_module("fastimg.threadpoolctl")  # registers the library

    fastimg.set_num_threads(4)
    (info,) = (one for one in threadpoolctl.threadpool_info() if one["user_api"] == "fastimg")
    assert info["num_threads"] == 4
    assert info["version"] == fastimg.__version__
    assert info["instruction_set"] in ("baseline", "v3", "v4")
    with threadpoolctl.threadpool_limits(2, user_api="fastimg"):
        assert fastimg.get_num_threads() == 2
    assert fastimg.get_num_threads() == 4
    with threadpoolctl.threadpool_limits(1):
        assert fastimg.get_num_threads() == 1


def test_no_thread_is_started_by_import():
    result = run_python(
        "import numpy, os; n = len(os.listdir('/proc/self/task')); import fastimg; import fastimg.metrics; "
        "assert len(os.listdir('/proc/self/task')) == n"
    )
    assert result.returncode == 0, result.stderr


def test_the_process_ends_with_threads_waiting():
    code = "import numpy as np; from fastimg import metrics; a = np.ones((2000, 2000)); "
    result = run_python(code + "print(metrics.mean_squared_error(a, a, threads=4))")
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, "0.0", "")
