"""The processes that compute radiomics: the numbers of one process, an end that is told, and nothing left behind."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep

import numpy as np
import pytest

from extract.radiomics_boxes import ScanBox
from extract.radiomics_settings import RadiomicsSection
from extract.radiomics_workers import RadiomicsWorkers
from pipeline.errors import MachineError

pytest.importorskip("mirp", reason="the extra radiomics is not installed")

SETTINGS = RadiomicsSection(spacing_mm="native", families=("statistics",), regions=("lesion",))


def cube(seed: int, side: int = 8) -> ScanBox:
    hu = np.random.default_rng(seed).integers(0, 100, (side,) * 3).astype(np.int16)
    inside = np.ones(hu.shape, dtype=np.bool_)
    return ScanBox(hu, inside, inside, (1.0, 1.0, 1.0))


@pytest.fixture
def workers():
    made = RadiomicsWorkers(SETTINGS, 2)
    yield made
    made.close()


def processes_of(workers: RadiomicsWorkers) -> list[int]:
    """Return the process ids, once there is one."""
    until = monotonic() + 60
    while monotonic() < until:
        executor = workers._executor
        if executor is not None and executor._processes:
            return list(executor._processes)
        sleep(0.05)
    raise AssertionError("no process was started within a minute")


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_threads_share_the_processes_and_each_gets_its_own_numbers(workers):
    boxes = [cube(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(workers.measure, boxes))
    means = [one.values["lesion.stat_mean"] for one in found]
    np.testing.assert_allclose(means, [box.hu.mean() for box in boxes], rtol=1e-6)
    assert workers.n_measured == 6


def test_a_scan_without_a_box_has_every_name_and_no_value(workers):
    none, some = workers.measure(None), workers.measure(cube(0))
    assert list(none.values) == list(some.values)
    assert np.isnan(list(none.values.values())).all()
    assert none.remarks == ("no radiomics: the slices around the lesions cannot be read",)


def test_no_process_is_left_behind(workers):
    workers.measure(cube(0))
    processes = processes_of(workers)
    workers.close()
    assert not [process for process in processes if is_running(process)]


def test_a_process_that_is_ended_is_told_with_what_to_do():
    slow = RadiomicsSection(spacing_mm="native", families=("local_intensity",), regions=("lesion",))
    workers = RadiomicsWorkers(slow, 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(workers.measure, cube(0, side=160))
        for process in processes_of(workers):
            os.kill(process, signal.SIGKILL)
        with pytest.raises(
            MachineError, match=r"was ended, most likely for want of memory; set fewer \[extract\] workers"
        ):
            waiting.result()
    workers.close()


def test_none_is_started_after_the_end():
    workers = RadiomicsWorkers(SETTINGS, 1)
    workers.close()
    with pytest.raises(MachineError, match="the run has ended before this scan"):
        workers.measure(cube(0))
