"""Spawns greenlets that never block, all at once, then joins them all."""

import gevent

from measure import count, report, sample

greenlets = count(100_000)


def nothing():
    pass


def spawn_and_run():
    gevent.joinall([gevent.spawn(nothing) for _ in range(greenlets)])


report({"spawn-run": sample(greenlets, spawn_and_run)})
