/**
 * What is measured: one entry for each program, with the figures it reports and what is asked of them.
 *
 * @typedef {(contender: string, key: string) => number | undefined} Best the best figure of a contender, if it has one
 * @typedef {{ asks: string, met: (best: Best, key: string) => boolean | undefined }} Target
 * @typedef {'ns' | 'bytes' | 'MB' | '/s' | 'MB/s' | '%'} Unit
 * @typedef {{ key: string, title: string, unit: Unit, targets?: Target[] }} Metric
 * `server`: the program of the servers, which are loaded by one client; `only`: by these contenders.
 * @typedef {{ name: string, server?: string, only?: string[], metrics: Metric[] }} Operation
 */

/** @param {Unit} unit  @returns {boolean} whether a higher figure is the better one */
export const higherIsBetter = (unit) => unit === '/s' || unit === 'MB/s' || unit === '%';

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

/**
 * So many times as many in a second.
 *
 * @param {string} peer
 * @param {number} factor
 * @returns {Target}
 */
function moreThan(peer, factor) {
  return {
    asks: `${peer} × ${factor}`,
    met(best, key) {
      const [ours, theirs] = [best('greenstack', key), best(peer, key)];
      return ours === undefined || theirs === undefined ? undefined : ours >= theirs * factor;
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

/**
 * @param {string} operation
 * @param {number} connections
 * @param {string} title
 * @param {Target[]} targets - of the server's time
 * @returns {Metric[]}
 */
function httpMetrics(operation, connections, title, targets) {
  const key = `${operation}.${connections}`;
  return [
    { key: `${key}.cpu`, title: `${title}: time of the server each`, unit: 'ns', targets },
    { key: `${key}.rate`, title: 'requests', unit: '/s' },
    { key: `${key}.p99`, title: 'slowest hundredth takes', unit: 'ns' },
  ];
}

/**
 * An app of a framework; Node is the same app on the server that it is written for.
 *
 * @param {string} name
 * @param {string} title
 * @param {Target[]} targets
 * @returns {Operation}
 */
function httpApp(name, title, targets) {
  const operation = `http-${name}`;
  return {
    name: operation,
    server: 'http-apps',
    metrics: httpMetrics(operation, 50, `HTTP, ${title}`, targets),
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
    name: 'echo',
    server: 'net-server',
    metrics: [1, 50, 500, 5000].flatMap((connections) => {
      const title = `echo, ${connections === 1 ? '1 connection' : `${connections.toLocaleString('en-US')} connections`}`;
      const targets = connections === 1 ? [] : [within('node', 0.75), within('go', 1)];
      return /** @type {Metric[]} */ ([
        { key: `echo.${connections}.cpu`, title: `${title}: time of the server each`, unit: 'ns', targets },
        { key: `echo.${connections}.rate`, title: 'messages', unit: '/s' },
        {
          key: `echo.${connections}.p99`,
          title: 'slowest hundredth takes',
          unit: 'ns',
          targets: connections === 1 ? [] : [within('go', 1)],
        },
        { key: `echo.${connections}.fewest`, title: 'fewest of a connection, of the average', unit: '%' },
      ]);
    }),
  },
  {
    name: 'http-hello',
    server: 'http-server',
    metrics: [1, 50, 500].flatMap((connections) =>
      httpMetrics(
        'http-hello',
        connections,
        `HTTP hello, ${connections} connection${connections === 1 ? '' : 's'}`,
        connections === 1
          ? [within('node', 1)]
          : [within('node', 0.55), within('go', 0.65), faster('gevent', 8)],
      ),
    ),
  },
  {
    name: 'http-large',
    server: 'http-server',
    metrics: httpMetrics('http-large', 50, 'HTTP, 10 KB, 50 connections', [within('node', 0.7)]),
  },
  {
    name: 'http-post-json',
    server: 'http-server',
    metrics: httpMetrics('http-post-json', 50, 'HTTP, 1 KB of JSON echoed, 50 connections', [
      within('node', 0.5),
    ]),
  },
  {
    name: 'http-backend',
    server: 'http-server',
    metrics: httpMetrics('http-backend', 50, 'HTTP, after 5 ms, 50 connections', [within('node', 1)]),
  },
  httpApp('listener', 'a Node-style listener', [within('node', 0.83)]),
  httpApp('express4', 'an Express 4 app', [within('node', 0.83)]),
  httpApp('express5', 'an Express 5 app', [within('node', 0.83)]),
  httpApp('koa', 'a Koa app', [within('node', 0.83)]),
  httpApp('hono', 'a Hono app', [within('node', 0.67)]),
  {
    name: 'http-patched',
    server: 'http-patched',
    metrics: httpMetrics('http-patched', 50, 'HTTP, an Express 5 app on node:http, patched', [
      within('node', 1.11),
    ]),
  },
  {
    name: 'http-idle',
    server: 'http-server',
    metrics: [
      {
        key: 'http-idle.bytes',
        title: 'one of 10,000 idle connections',
        unit: 'bytes',
        targets: [atMost(2000, '≤ 2 KB')],
      },
    ],
  },
  {
    name: 'connect',
    server: 'net-server',
    metrics: [
      {
        key: 'connect.rate',
        title: 'connect, echo, close',
        unit: '/s',
        targets: [moreThan('node', 1.25)],
      },
      { key: 'connect.cpu', title: 'time of the server each', unit: 'ns', targets: [within('node', 0.8)] },
    ],
  },
  {
    name: 'bulk',
    server: 'net-server',
    metrics: [
      { key: 'bulk.rate', title: 'sending 64 KiB at a time', unit: 'MB/s', targets: [moreThan('go', 0.95)] },
      { key: 'bulk.cpu', title: 'time of the server each', unit: 'ns', targets: [within('go', 1.05)] },
    ],
  },
  {
    name: 'idle',
    server: 'net-server',
    metrics: [
      {
        key: 'idle.bytes',
        title: 'one of 10,000 idle connections',
        unit: 'bytes',
        targets: [atMost(9600, '≤ 9.6 KB')],
      },
    ],
  },
  {
    name: 'idle-without-greenlets',
    server: 'net-server',
    only: ['greenstack'],
    metrics: [
      {
        key: 'idle-without-greenlets.bytes',
        title: 'one of 10,000 awaiting data',
        unit: 'bytes',
        targets: [atMost(1024, '≤ 1 KB')],
      },
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
