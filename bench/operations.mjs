/**
 * What is measured: one entry for each program, with the figures it reports and what is asked of them.
 *
 * @typedef {(contender: string, key: string) => number | undefined} Best the best figure of a contender, if it has one
 * @typedef {{ asks: string, met: (best: Best, key: string) => boolean | undefined }} Target
 * @typedef {'ns' | 'bytes' | 'MB' | '/s'} Unit
 * @typedef {{ key: string, title: string, unit: Unit, targets?: Target[] }} Metric
 * @typedef {{ name: string, metrics: Metric[] }} Operation
 */

/** @param {Unit} unit  @returns {boolean} whether a higher figure is the better one */
export const higherIsBetter = (unit) => unit === '/s';

/**
 * So many times faster than a peer.
 *
 * @param {string} peer
 * @param {number} factor
 * @returns {Target}
 */
function faster(peer, factor) {
  return {
    asks: `${peer} ≥ ${factor}`,
    met(best, key) {
      const [ours, theirs] = [best('greenstack', key), best(peer, key)];
      return ours === undefined || theirs === undefined ? undefined : theirs / ours >= factor;
    },
  };
}

/**
 * At most so many times as long as a peer.
 *
 * @param {string} peer
 * @param {number} factor
 * @returns {Target}
 */
function within(peer, factor) {
  return {
    asks: `≤ ${factor} × ${peer}`,
    met(best, key) {
      const [ours, theirs] = [best('greenstack', key), best(peer, key)];
      return ours === undefined || theirs === undefined ? undefined : ours <= theirs * factor;
    },
  };
}

/**
 * As many in a second as a peer, give or take the noise of a shared machine.
 *
 * @param {string} peer
 * @returns {Target}
 */
function levelWith(peer) {
  return {
    asks: `≥ 0.9 × ${peer}`,
    met(best, key) {
      const [ours, theirs] = [best('greenstack', key), best(peer, key)];
      return ours === undefined || theirs === undefined ? undefined : ours >= theirs * 0.9;
    },
  };
}

/**
 * @param {number} limit
 * @param {string} asks
 * @returns {Target}
 */
function atMost(limit, asks) {
  return {
    asks,
    met(best, key) {
      const ours = best('greenstack', key);
      return ours === undefined ? undefined : ours <= limit;
    },
  };
}

/**
 * No more than another figure, give or take the noise of a shared machine.
 *
 * @param {string} base
 * @returns {Target}
 */
function noGrowthFrom(base) {
  return {
    asks: `≤ 1.25 × ${base}`,
    met(best, key) {
      const [then, now] = [best('greenstack', base), best('greenstack', key)];
      return then === undefined || now === undefined ? undefined : now <= then * 1.25;
    },
  };
}

/** @returns {Target} */
function someProgress() {
  return {
    asks: '> 0',
    met(best, key) {
      const ours = best('greenstack', key);
      return ours === undefined ? undefined : ours > 0;
    },
  };
}

/** @type {Operation[]} */
export const operations = [
  {
    name: 'spawn-run',
    metrics: [
      {
        key: 'spawn-run',
        title: 'spawn and run, 100,000 at once, then join all',
        unit: 'ns',
        targets: [faster('gevent', 20), faster('go', 1)],
      },
    ],
  },
  {
    name: 'spawn-join',
    metrics: [
      {
        key: 'spawn-join',
        title: 'spawn one by one, the parent waiting',
        unit: 'ns',
        targets: [faster('gevent', 8)],
      },
    ],
  },
  {
    name: 'sleep0',
    metrics: [
      { key: 'sleep0.alone', title: 'sleep(0), one greenlet', unit: 'ns' },
      {
        key: 'sleep0.two',
        title: 'sleep(0), two: a hand-over',
        unit: 'ns',
        targets: [faster('gevent', 4)],
      },
      { key: 'sleep0.thousand', title: 'sleep(0), a thousand', unit: 'ns' },
    ],
  },
  {
    name: 'hand-over',
    metrics: [
      { key: 'hand-over.waiter', title: 'hand-over by a Waiter each', unit: 'ns' },
      { key: 'hand-over.promise', title: 'hand-over by a promise each', unit: 'ns' },
    ],
  },
  {
    name: 'switch-growth',
    metrics: [
      { key: 'switch-growth.before', title: 'hand-over before a million greenlets', unit: 'ns' },
      {
        key: 'switch-growth.after',
        title: 'hand-over after them',
        unit: 'ns',
        targets: [noGrowthFrom('switch-growth.before')],
      },
    ],
  },
  {
    name: 'parked',
    metrics: [
      {
        key: 'parked.bytes',
        title: 'one of 100,000 parked',
        unit: 'bytes',
        targets: [atMost(12 * 1024, '≤ 12 KB')],
      },
      { key: 'parked.pageTables', title: 'page tables beside that', unit: 'bytes' },
      { key: 'parked.wake', title: 'waking each of them', unit: 'ns', targets: [faster('gevent', 4)] },
    ],
  },
  {
    name: 'finished',
    metrics: [
      { key: 'finished.first', title: 'kept after 10,000 parked and ended', unit: 'MB' },
      { key: 'finished.last', title: 'kept after ten times that', unit: 'MB' },
      {
        key: 'finished.growth',
        title: 'kept of each, fifth to tenth time',
        unit: 'bytes',
        targets: [atMost(50, '≤ 50 bytes')],
      },
    ],
  },
  {
    name: 'timeout',
    metrics: [
      {
        key: 'timeout.alone',
        title: 'timeout started and cancelled',
        unit: 'ns',
        targets: [faster('gevent', 8)],
      },
      { key: 'timeout.amongFew', title: 'the same, 1,000 pending', unit: 'ns' },
      {
        key: 'timeout.amongMany',
        title: 'the same, 1,000,000 pending',
        unit: 'ns',
        targets: [noGrowthFrom('timeout.amongFew')],
      },
      { key: 'timeout.fill', title: 'starting each of the million', unit: 'ns' },
    ],
  },
  {
    name: 'sleepers',
    metrics: [{ key: 'sleepers', title: 'waking each of 20,000 due at once', unit: 'ns' }],
  },
  {
    name: 'wait-for',
    metrics: [{ key: 'wait-for', title: 'waitFor(settled promise); Node: await', unit: 'ns' }],
  },
  {
    name: 'channel',
    metrics: [
      {
        key: 'channel',
        title: 'channel hand-off',
        unit: 'ns',
        targets: [faster('gevent', 5), within('go', 4)],
      },
    ],
  },
  {
    name: 'bounded-queue',
    metrics: [
      {
        key: 'bounded-queue.ten',
        title: 'item through a queue of 10',
        unit: 'ns',
        targets: [faster('gevent', 5)],
      },
      {
        key: 'bounded-queue.hundred',
        title: 'item through a queue of 100',
        unit: 'ns',
        targets: [faster('gevent', 5)],
      },
    ],
  },
  {
    name: 'semaphore',
    metrics: [
      {
        key: 'semaphore.free',
        title: 'acquire and release, nobody else',
        unit: 'ns',
        targets: [faster('gevent', 3)],
      },
      {
        key: 'semaphore.handOver',
        title: 'hand-over by a Semaphore each',
        unit: 'ns',
        targets: [faster('gevent', 5)],
      },
    ],
  },
  {
    name: 'event',
    metrics: [
      {
        key: 'event',
        title: 'waking each of 10,000 at an Event',
        unit: 'ns',
        targets: [faster('gevent', 8)],
      },
    ],
  },
  {
    name: 'pool-map',
    metrics: [
      {
        key: 'pool-map',
        title: 'Pool(100).map, each of 10,000',
        unit: 'ns',
        targets: [faster('gevent', 8)],
      },
    ],
  },
  {
    name: 'local',
    metrics: [
      {
        key: 'local.property',
        title: 'local read or written; Node: getStore()',
        unit: 'ns',
        targets: [faster('gevent', 3)],
      },
      { key: 'local.value', title: 'GreenletLocal; gevent: ContextVar', unit: 'ns' },
    ],
  },
  {
    name: 'thread-pool',
    metrics: [
      {
        key: 'thread-pool.block',
        title: 'job of 1 ms, 4 threads; Node: piscina',
        unit: 'ns',
        targets: [within('node', 1.05)],
      },
      { key: 'thread-pool.same', title: 'job that does nothing', unit: 'ns' },
    ],
  },
  {
    name: 'dns-cached',
    metrics: [
      {
        key: 'dns-cached.hosts',
        title: 'lookup of a name of the hosts file',
        unit: 'ns',
        targets: [faster('node', 3)],
      },
      { key: 'dns-cached.kept', title: 'lookup of a name that was answered before', unit: 'ns' },
    ],
  },
  {
    name: 'dns-query',
    metrics: [
      { key: 'dns-query.one', title: 'names asked for, one after another', unit: '/s' },
      {
        key: 'dns-query.many',
        title: 'names asked for, 100 at once',
        unit: '/s',
        targets: [levelWith('node')],
      },
    ],
  },
  {
    name: 'responsive',
    metrics: [
      ...['setImmediate', 'promise', 'echo', 'nodeEcho'].flatMap((probe) => {
        const title = {
          setImmediate: 'setImmediate turns',
          promise: 'promise steps (fs.stat)',
          echo: 'TCP round trips of a greenlet',
          nodeEcho: 'TCP round trips of node:net',
        }[probe];
        return /** @type {Metric[]} */ ([
          { key: `responsive.${probe}.idle`, title: `${title}, idle`, unit: '/s' },
          {
            key: `responsive.${probe}.loaded`,
            title: `${title}, 1,000 yielding`,
            unit: '/s',
            targets: [someProgress()],
          },
        ]);
      }),
      { key: 'responsive.yields', title: 'yields of the thousand meanwhile', unit: '/s' },
    ],
  },
  {
    name: 'tls-handshake',
    metrics: [
      {
        key: 'tls-handshake.full',
        title: 'TLS handshake of a server, processor time',
        unit: 'ns',
        targets: [within('node', 1)],
      },
      {
        key: 'tls-handshake.resumed',
        title: 'the same, of a client that comes again',
        unit: 'ns',
        targets: [within('node', 1)],
      },
    ],
  },
  {
    name: 'tls-echo',
    metrics: [
      {
        key: 'tls-echo.message',
        title: 'TLS echo of 64 bytes, processor time of the server',
        unit: 'ns',
        targets: [within('node', 1)],
      },
      {
        key: 'tls-echo.receive',
        title: '64 KiB received by TLS, processor time',
        unit: 'ns',
        targets: [within('node', 1)],
      },
      {
        key: 'tls-echo.send',
        title: '64 KiB sent by TLS, processor time',
        unit: 'ns',
        targets: [within('node', 1)],
      },
    ],
  },
];
