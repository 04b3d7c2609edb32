"""How many TCP round trips a second, beside an idle hub and beside a thousand greenlets that yield in a loop."""

import gevent
from gevent import sleep, socket

from measure import count, echo_port, now, report

period = count(1_000) * 1_000_000
message = b"x" * 64


def echo():
    with socket.create_connection(("127.0.0.1", echo_port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trips = 0
        start = now()
        while now() - start < period:
            connection.sendall(message)
            received = 0
            while received < len(message):
                received += len(connection.recv(len(message)))
            trips += 1
        return trips / ((now() - start) / 1e9)


loaded = True
yields = 0


def yielding():
    global yields
    while loaded:
        sleep(0)
        yields += 1


figures = {"responsive.echo.idle": echo()}
yielders = [gevent.spawn(yielding) for _ in range(1_000)]
start = now()
figures["responsive.echo.loaded"] = echo()
figures["responsive.yields"] = yields / ((now() - start) / 1e9)
loaded = False
gevent.joinall(yielders)
report(figures)
