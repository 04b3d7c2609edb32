"""Lets many greenlets sleep until the same moment: the time from the first that runs again to the last, for each."""

import gevent

from measure import count, now, report


def wake_sleepers(greenlets, ms):
    due = now() + ms * 1_000_000
    first = 0
    last = 0

    def sleeper():
        nonlocal first, last
        gevent.sleep((due - now()) / 1e9)
        last = now()
        first = first or last

    gevent.joinall([gevent.spawn(sleeper) for _ in range(greenlets)])
    return (last - first) / greenlets


wake_sleepers(100, 50)  # warms up
report({"sleepers": wake_sleepers(count(20_000), 1_500)})
