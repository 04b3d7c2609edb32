"""
Acquires a semaphore that is free and releases it; and two greenlets, each waiting for a permit that the other releases,
to and fro.
"""

import gevent
from gevent.lock import Semaphore

from measure import count, report, sample, verify

uses = count(200_000)
trips = count(50_000)


def use_free():
    semaphore = Semaphore()
    for _ in range(uses):
        semaphore.acquire()
        semaphore.release()
    verify(semaphore.counter, 1)


def to_and_fro():
    there = Semaphore(0)
    back = Semaphore(0)
    turns = 0

    def one():
        nonlocal turns
        for i in range(trips):
            there.release()
            back.acquire()
            turns += 1
            verify(turns, 2 * i + 2)

    def other():
        nonlocal turns
        for i in range(trips):
            there.acquire()
            turns += 1
            verify(turns, 2 * i + 1)
            back.release()

    gevent.joinall([gevent.spawn(one), gevent.spawn(other)])


report({"semaphore.free": sample(uses, use_free), "semaphore.handOver": sample(trips * 2, to_and_fro)})
