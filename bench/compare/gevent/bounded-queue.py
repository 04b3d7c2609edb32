"""Passes items from one greenlet to another through a bounded queue, which the one fills and the other empties."""

import gevent
from gevent.queue import Queue

from measure import count, report, sample, verify

items = count(200_000)


def pass_through(maxsize):
    def body():
        queue = Queue(maxsize)
        total = 0

        def get():
            nonlocal total
            for _ in range(items):
                total += queue.get()

        def put():
            for i in range(items):
                queue.put(i)

        gevent.joinall([gevent.spawn(get), gevent.spawn(put)])
        verify(total, items * (items - 1) // 2)

    return sample(items, body)


report({"bounded-queue.ten": pass_through(10), "bounded-queue.hundred": pass_through(100)})
