"""Spawns greenlets one by one, the parent waiting for each to end."""

import gevent

from measure import count, report, sample

greenlets = count(100_000)


def nothing():
    pass


def spawn_and_join():
    for _ in range(greenlets):
        gevent.spawn(nothing).join()


report({"spawn-join": sample(greenlets, spawn_and_join)})
