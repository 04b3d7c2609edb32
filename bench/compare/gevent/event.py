"""Sets an event that many greenlets wait for: the time until the last of them has gone on, for each."""

import gevent
from gevent.event import Event

from measure import collect, count, now, report, verify


def set_for_all(greenlets):
    all_parked = Event()
    event = Event()
    all_woken = Event()
    parked = 0
    woken = 0
    end = 0

    def waiter():
        nonlocal parked, woken, end
        parked += 1
        if parked == greenlets:
            all_parked.set()
        event.wait()
        woken += 1
        if woken == greenlets:
            end = now()
            all_woken.set()

    for _ in range(greenlets):
        gevent.spawn(waiter)
    all_parked.wait()
    collect()
    verify(woken, 0)

    start = now()
    event.set()
    all_woken.wait()
    verify(woken, greenlets)
    return (end - start) / greenlets


greenlets = count(10_000)
set_for_all(greenlets)  # warms up
report({"event": [set_for_all(greenlets) for _ in range(5)]})
