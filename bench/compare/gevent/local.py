"""Reads and writes what each greenlet has of its own: an attribute of a `local`, and the value of a `ContextVar`."""

from contextvars import ContextVar

import gevent
from gevent.local import local

from measure import count, report, sample, verify

rounds = count(200_000)


class Own(local):
    def __init__(self):
        self.count = 0


def by_property():
    own = Own()

    def body():
        before = own.count
        for _ in range(rounds):
            own.count += 1
        verify(own.count, before + rounds)

    samples = sample(rounds * 2, body)
    verify(gevent.spawn(lambda: own.count).get(), 0)
    return samples


def by_value():
    own = ContextVar("own", default=0)

    def body():
        before = own.get()
        for _ in range(rounds):
            own.set(own.get() + 1)
        verify(own.get(), before + rounds)

    samples = sample(rounds * 2, body)
    verify(gevent.spawn(own.get).get(), 0)
    return samples


report({"local.property": by_property(), "local.value": by_value()})
