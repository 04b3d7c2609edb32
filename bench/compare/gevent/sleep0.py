"""Greenlets yielding to one another with `sleep(0)`: one alone, two (a plain hand-over), and a thousand."""

import gevent
from gevent import sleep

from measure import count, report, sample

yields = count(300_000)


def yield_among(greenlets):
    each = -(-yields // greenlets)

    def yielding():
        for _ in range(each):
            sleep(0)

    return sample(each * greenlets, lambda: gevent.joinall([gevent.spawn(yielding) for _ in range(greenlets)]))


report({"sleep0.alone": yield_among(1), "sleep0.two": yield_among(2), "sleep0.thousand": yield_among(1000)})
