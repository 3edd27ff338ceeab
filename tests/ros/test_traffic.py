from __future__ import annotations

import time

from focusdepth_ros.traffic import Traffic


def test_rates_count_from_the_last_restart() -> None:
    traffic = Traffic()
    traffic.count("answered")
    time.sleep(0.1)
    restarted = time.monotonic()
    traffic.restart()
    for _ in range(10):
        traffic.count("received")
    rates = traffic.rates()
    assert rates.received >= 10 / (time.monotonic() - restarted)
    assert (rates.answered, traffic.counts["answered"]) == (0, 1)
