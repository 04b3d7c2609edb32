"""Parks many greenlets and lets them end, ten times: the memory that stays with the process."""

import gevent
from gevent.event import Event

from measure import count, memory, report

greenlets = count(10_000)
rounds = 10


def park_and_end():
    gate = Event()
    parked = 0

    def park():
        nonlocal parked
        parked += 1
        if parked == greenlets:
            gate.set()
        else:
            gate.wait()

    gevent.joinall([gevent.spawn(park) for _ in range(greenlets)])


before, _ = memory()
kept = []
for _ in range(rounds):
    park_and_end()
    kept.append(memory()[0] - before)
report(
    {
        "finished.first": kept[0],
        "finished.last": kept[-1],
        # From the fifth on: the first ones also fill caches.
        "finished.growth": (kept[-1] - kept[4]) / ((rounds - 5) * greenlets),
    }
)
