"""What the gevent programs share: how much to do, how to time it, how to read memory, how to answer."""

import gc
import json
import os
import time

scale = float(os.environ.get("BENCH_SCALE", "1"))
echo_port = int(os.environ.get("BENCH_ECHO_PORT", "0"))
dns_port = int(os.environ.get("BENCH_DNS_PORT", "0"))
now = time.perf_counter_ns


def count(full):
    return max(1, round(full * scale))


def sample(operations, body, repetitions=3):
    """Times `body`, which does `operations` operations, after one run of it that does not count."""
    body()
    samples = []
    for _ in range(repetitions):
        start = now()
        body()
        samples.append((now() - start) / operations)
    return samples


def verify(got, expected):
    """Raises unless a program has done what it was to do: nobody measures a failure."""
    if got != expected:
        raise RuntimeError(f"got {got} instead of {expected}")


def collect():
    """Collects garbage, so that what was done before is not paid for by what is measured next."""
    gc.collect()


def memory():
    """Collects garbage, then returns the bytes resident and those of the page tables."""
    collect()
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmPTE"))


def report(figures):
    print(json.dumps(figures))
