"""Two greenlets, each waiting for a result that the other sets, to and fro."""

import gevent
from gevent.event import AsyncResult

from measure import count, report, sample

trips = count(50_000)


def to_and_fro():
    there = AsyncResult()
    back = AsyncResult()

    def one():
        nonlocal back
        for _ in range(trips):
            there.set()
            back.get()
            back = AsyncResult()

    def other():
        nonlocal there
        for _ in range(trips):
            there.get()
            there = AsyncResult()
            back.set()

    gevent.joinall([gevent.spawn(one), gevent.spawn(other)])


report({"hand-over.waiter": sample(trips * 2, to_and_fro)})
