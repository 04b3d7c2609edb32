"""Starts a timeout and cancels it, with more and more others pending."""

import os
import sys

from gevent import Timeout

from measure import collect, count, now, report, sample

timeouts = count(100_000)
few = 1_000
many = count(1_000_000)
pending = []


def fill(total):
    """Starts timeouts that end long after this program, in no order, until `total` are pending."""
    for i in range(len(pending), total):
        pending.append(Timeout.start_new(3600 + (i * 7.919) % 3600))


def start_and_cancel():
    def body():
        for _ in range(timeouts):
            timeout = Timeout.start_new(10)
            timeout.close()

    return sample(timeouts, body)


alone = start_and_cancel()
fill(few)
collect()
among_few = start_and_cancel()
start = now()
fill(many)
filled = (now() - start) / (many - few)
collect()
among_many = start_and_cancel()
report(
    {
        "timeout.alone": alone,
        "timeout.amongFew": among_few,
        "timeout.amongMany": among_many,
        "timeout.fill": filled,
    }
)
sys.stdout.flush()
os._exit(0)  # without taking a million timeouts down one by one
