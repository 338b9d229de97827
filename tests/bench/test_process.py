from __future__ import annotations

import os
import sys
import threading

from bench import process


def test_the_busiest_thread_is_the_one_that_had_most_since() -> None:
    assert process.busiest({1: 100, 2: 5}, {1: 110, 2: 30, 3: 20}) == 25
    assert process.busiest({}, {}) == 0


def test_own_threads_are_seen() -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    try:
        times = process.thread_times(os.getpid())
    finally:
        done.set()
        other.join()
    assert other.native_id in times
    assert times[os.getpid()] > 0


def test_own_memory_and_descriptors_are_seen() -> None:
    assert process.memory(os.getpid()) > 1 << 20
    before = process.descriptors(os.getpid())
    reader, writer = os.pipe()
    try:
        assert process.descriptors(os.getpid()) == before + 2
    finally:
        os.close(reader)
        os.close(writer)


def test_a_process_is_ended_on_the_way_out() -> None:
    with process.running([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        assert started.poll() is None
    assert started.returncode == -15
