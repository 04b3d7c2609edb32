"""Jobs for four threads: ones that block for 1 ms, and ones that do nothing."""

import time

from gevent.threadpool import ThreadPool

from measure import count, report, sample, verify

jobs = list(range(count(1_000)))
pool = ThreadPool(4)


def block(item):
    time.sleep(0.001)
    return item


def same(item):
    return item


def run_all(job):
    def body():
        verify(sum(pool.map(job, jobs)), len(jobs) * (len(jobs) - 1) // 2)

    return sample(len(jobs), body, 5)


report({"thread-pool.block": run_all(block), "thread-pool.same": run_all(same)})
