from __future__ import annotations

import pytest

from bench import machine


def test_an_idle_machine_is_no_reason_to_complain() -> None:
    assert machine.complaint(machine.BUSY - 0.01) is None


def test_a_busy_machine_is() -> None:
    assert machine.complaint(2.5) == "the machine is busy (load average 2.50, idle is below 0.5)"


def test_more_descriptors_than_the_kernel_ever_allows_are_refused() -> None:
    with pytest.raises(machine.TooFewDescriptorsError, match="file descriptors needed"):
        machine.raise_descriptor_limit(1 << 40)
