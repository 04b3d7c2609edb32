"""Maps many items by a function that never blocks, at most a hundred greenlets at a time."""

from gevent.pool import Pool

from measure import count, report, sample, verify

items = list(range(count(10_000)))


def same(item):
    return item


def map_all():
    results = Pool(100).map(same, items)
    verify(sum(results), len(items) * (len(items) - 1) // 2)


report({"pool-map": sample(len(items), map_all, 5)})
