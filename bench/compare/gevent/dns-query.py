"""The same by gevent's own c-ares."""

import os

from measure import count, dns_port, now, report, verify

os.environ["GEVENT_RESOLVER"] = "ares"
os.environ["GEVENTARES_SERVERS"] = "127.0.0.1"
os.environ["GEVENTARES_UDP_PORT"] = str(dns_port)

import gevent  # noqa: E402
from gevent import socket  # noqa: E402

asked = 0


def per_second(names, at_once):
    left = names

    def ask():
        nonlocal left
        global asked
        while left > 0:
            left -= 1
            asked += 1
            verify(socket.gethostbyname(f"name{asked}.test"), "192.0.2.1")

    start = now()
    gevent.joinall([gevent.spawn(ask) for _ in range(at_once)], raise_error=True)
    return names / ((now() - start) / 1e9)


per_second(count(5_000), 100)
figures = {"dns-query.one": [], "dns-query.many": []}
for _ in range(3):
    figures["dns-query.one"].append(per_second(count(2_000), 1))
    figures["dns-query.many"].append(per_second(count(10_000), 100))
report(figures)
