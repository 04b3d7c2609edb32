"""Hands items from one greenlet to another through a channel, which keeps none."""

import gevent
from gevent.queue import Channel

from measure import count, report, sample, verify

items = count(100_000)


def hand_on():
    channel = Channel()
    total = 0

    def get():
        nonlocal total
        for _ in range(items):
            total += channel.get()

    def put():
        for i in range(items):
            channel.put(i)

    gevent.joinall([gevent.spawn(get), gevent.spawn(put)])
    verify(total, items * (items - 1) // 2)


report({"channel": sample(items, hand_on)})
