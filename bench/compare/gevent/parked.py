"""Parks many greenlets on one event: the memory each takes, and the time to wake each."""

import gevent
from gevent.event import Event

from measure import count, memory, now, report


def park_and_wake(greenlets):
    all_parked = Event()
    gate = Event()
    all_woken = Event()
    parked = 0
    woken = 0
    end = 0

    def park():
        nonlocal parked, woken, end
        parked += 1
        if parked == greenlets:
            all_parked.set()
        gate.wait()
        woken += 1
        if woken == greenlets:
            end = now()
            all_woken.set()

    resident, page_tables = memory()
    for _ in range(greenlets):
        gevent.spawn(park)
    all_parked.wait()
    resident_after, page_tables_after = memory()

    start = now()
    gate.set()
    all_woken.wait()
    return {
        "parked.bytes": (resident_after - resident) / greenlets,
        "parked.pageTables": (page_tables_after - page_tables) / greenlets,
        "parked.wake": (end - start) / greenlets,
    }


park_and_wake(100)  # warms up
report(park_and_wake(count(100_000)))
