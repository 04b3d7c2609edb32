import { sleep, spawn } from 'greenstack';
import { poll, POLLIN, POLLNVAL, POLLOUT, select, Selector } from 'greenstack/select';
import { type Socket, socketPair } from 'greenstack/socket';
import { hubTest } from '../support/hub-test.js';
import { residue } from '../support/residue.js';

/** Runs `body` with a pair of sockets. */
function withPair(body: (left: Socket, right: Socket) => void): void {
  const [left, right] = socketPair();
  try {
    body(left, right);
  } finally {
    left.close();
    right.close();
  }
}

hubTest('gevent.select.select: blocks only the greenlet', (t) => {
  withPair((left, right) => {
    const selecting = spawn(() => select([left]));
    sleep(1);
    t.false(selecting.ready);
    right.sendAll('x');
    t.deepEqual(selecting.get(), [[left], [], []]);
  });
});

hubTest('gevent.select.select: returns everything that is ready', (t) => {
  withPair((left, right) => {
    left.sendAll('x');
    right.sendAll('y');
    t.deepEqual(select([left, right], [left, right]), [[left, right], [left, right], []]);
  });
});

hubTest('gevent.select.select: returns empty lists when the time is up', (t) => {
  withPair((left) => {
    t.deepEqual(select([left], [], [], 1), [[], [], []]);
    t.deepEqual(select([], [], [], 1), [[], [], []]);
  });
});

hubTest('gevent.select.select: a broken descriptor raises at once', (t) => {
  withPair((left) => {
    left.close();
    t.throws(() => select([left]), { code: 'EBADF' });
  });
});

hubTest('gevent.select.select: takes descriptors, objects that have one, and any iterable', (t) => {
  withPair((left, right) => {
    right.sendAll('x');
    t.deepEqual(select(new Set([left.fd])), [[left.fd], [], []]);
    const object = { fd: left.fd };
    t.deepEqual(select([object]), [[object], [], []]);
  });
});

hubTest('gevent.select.select: duplicates do not leak', (t) => {
  withPair((left) => {
    const before = residue();
    t.deepEqual(select([left, left, left.fd], [], [], 1), [[], [], []]);
    t.deepEqual(residue(), before);
  });
});

hubTest('gevent.select.select: always lets others run', (t) => {
  withPair((left) => {
    let runs = 0;
    const other = spawn(() => runs++);
    select([], [left], [], 0);
    t.is(runs, 1);
    other.join();
  });
});

hubTest('gevent.select.poll: tells descriptors and their events', (t) => {
  withPair((left, right) => {
    const poller = poll();
    poller.register(left.fd, POLLIN | POLLOUT);
    t.deepEqual(poller.poll(0), [[left.fd, POLLOUT]]);
    right.sendAll('x');
    t.deepEqual(poller.poll(), [[left.fd, POLLIN | POLLOUT]]);
  });
});

hubTest('gevent.select.poll: a closed descriptor is POLLNVAL', (t) => {
  withPair((left) => {
    const poller = poll();
    poller.register(left, POLLIN);
    left.close();
    t.deepEqual(poller.poll(0), [[left, POLLNVAL]]);
  });
});

hubTest('gevent.select.poll.unregister: what is not registered raises', (t) => {
  withPair((left) => {
    t.throws(() => poll().unregister(left), { code: 'ERR_GREENSTACK_NOT_REGISTERED' });
  });
});

hubTest('gevent.selectors.GeventSelector: tells what is ready, with its data', (t) => {
  withPair((left, right) => {
    using selector = new Selector<string>();
    selector.register(left, 'r', 'data');
    const selecting = spawn(() => selector.select());
    sleep(1);
    right.sendAll('x');
    t.deepEqual(
      selecting.get().map(([key, events]) => [key.target, key.data, events]),
      [[left, 'data', 'r']],
    );
  });
});

hubTest('gevent.selectors.GeventSelector: closing what is in use is harmless', (t) => {
  withPair((left, right) => {
    using selector = new Selector();
    selector.register(left, 'r', undefined);
    const selecting = spawn(() => selector.select());
    sleep(1);
    left.close();
    t.is(selecting.get().length, 1);
    t.deepEqual(select([], [right]).length, 3);
  });
});
