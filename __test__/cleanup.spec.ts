import { getEventListeners } from 'node:events';
import {
  Greenlet,
  GreenletExit,
  Timeout,
  idle,
  iwait,
  joinAll,
  kill,
  killAll,
  sleep,
  spawn,
  wait,
  waitFor,
} from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { createConnection } from 'greenstack/socket';
import type { ExecutionContext } from 'ava';
import { Gate, parkForLong, parked, stubbornUntil, thrownBy } from './support/greenlets.js';
import { hubTest, virtualTest } from './support/hub-test.js';
import { nameserver } from './support/dns-server.js';
import { type Residue, residue } from './support/residue.js';
import { listen, silent, unreachable } from './support/servers.js';
import { muted } from './support/stderr.js';

const never = () => new Promise<never>(() => {});

/**
 * A place where greenlets park. `prepare` makes what the wait needs, and runs `body` with the wait; whatever it made is
 * gone afterwards. The wait itself must neither end nor leave anything behind when it is ended.
 */
type ParkPoint = (body: (park: () => unknown) => void, t: ExecutionContext) => void;

const parkPoints: Record<string, ParkPoint> = {
  'sleep()': (body) => body(() => sleep(3_600_000)),

  'sleep() with a signal': (body, t) => {
    const { signal } = new AbortController();
    body(() => sleep(3_600_000, { signal }));
    t.is(getEventListeners(signal, 'abort').length, 0);
  },

  'join()': (body, t) => {
    const awaited = parked();
    body(() => awaited.join());
    t.false(awaited.hasLinks());
    awaited.kill();
  },

  'join() with a limit': (body, t) => {
    const awaited = parked();
    body(() => awaited.join(3_600_000));
    t.false(awaited.hasLinks());
    awaited.kill();
  },

  'get()': (body, t) => {
    const awaited = parked();
    body(() => awaited.get());
    t.false(awaited.hasLinks());
    awaited.kill();
  },

  'get() with a signal': (body, t) => {
    const awaited = parked();
    const { signal } = new AbortController();
    body(() => awaited.get({ signal, timeout: 3_600_000 }));
    t.false(awaited.hasLinks());
    t.is(getEventListeners(signal, 'abort').length, 0);
    awaited.kill();
  },

  'kill()': (body, t) => {
    const gate = new Gate();
    const stubborn = stubbornUntil(gate);
    body(() => stubborn.kill());
    t.false(stubborn.hasLinks());
    gate.open();
    stubborn.join();
  },

  'joinAll()': (body, t) => {
    const awaited = [parked(), parked()];
    body(() => joinAll(awaited, { timeout: 3_600_000 }));
    t.false(awaited.some((greenlet) => greenlet.hasLinks()));
    killAll(awaited);
  },

  'killAll()': (body, t) => {
    const gate = new Gate();
    const stubborn = stubbornUntil(gate);
    body(() => killAll([stubborn], { timeout: 3_600_000 }));
    t.false(stubborn.hasLinks());
    gate.open();
    stubborn.join();
  },

  'wait()': (body, t) => {
    const awaited = [parked(), parked()];
    body(() => wait(awaited, { timeout: 3_600_000 }));
    t.false(awaited.some((greenlet) => greenlet.hasLinks()));
    killAll(awaited);
  },

  'iwait()': (body, t) => {
    const awaited = [parked(), parked()];
    body(() => [...iwait(awaited, { timeout: 3_600_000 })]);
    t.false(awaited.some((greenlet) => greenlet.hasLinks()));
    killAll(awaited);
  },

  'iwait() in the middle': (body, t) => {
    const awaited = parked();
    body(() => [...iwait([spawn(() => {}), awaited])]);
    t.false(awaited.hasLinks());
    awaited.kill();
  },
};

/** Where the wait, or what the test needs for it, is not for time and other greenlets only. */
const outsideParkPoints: Record<string, ParkPoint> = {
  'idle()': (body) => {
    let busy = true;
    const restless = spawn(() => {
      while (busy) sleep(0);
    });
    sleep(0);
    try {
      body(idle);
    } finally {
      busy = false;
      restless.join();
    }
  },

  'waitFor()': (body) => body(() => waitFor(never())),

  'waitFor() with a function': (body, t) => {
    let signal: AbortSignal | undefined;
    body(() =>
      waitFor((given) => {
        signal = given;
        return never();
      }),
    );
    t.true(signal!.aborted);
  },

  'waitFor() with a signal and a limit': (body, t) => {
    const { signal } = new AbortController();
    body(() => waitFor(never(), { signal, timeout: 3_600_000 }));
    t.is(getEventListeners(signal, 'abort').length, 0);
  },

  'recv()': (body) => {
    using server = listen(silent);
    using socket = createConnection(server.address);
    body(() => socket.recv(10));
  },

  'recv() with a limit and a signal': (body, t) => {
    using server = listen(silent);
    using socket = createConnection(server.address);
    const { signal } = new AbortController();
    body(() => socket.recv(10, { timeout: 3_600_000, signal }));
    t.is(getEventListeners(signal, 'abort').length, 0);
  },

  'recvInto()': (body) => {
    using server = listen(silent);
    using socket = createConnection(server.address);
    body(() => socket.recvInto(Buffer.alloc(10)));
  },

  'send() with a full buffer': (body) => {
    using server = listen(silent);
    using socket = createConnection(server.address);
    const chunk = Buffer.alloc(1 << 20);
    body(() => {
      for (;;) socket.send(chunk);
    });
  },

  'sendAll()': (body) => {
    using server = listen(silent);
    using socket = createConnection(server.address);
    body(() => socket.sendAll(Buffer.alloc(64 << 20)));
  },

  'createConnection()': (body) => {
    using host = unreachable();
    body(() => createConnection(host.address));
  },

  'createConnection() with a limit and a signal': (body, t) => {
    using host = unreachable();
    const { signal } = new AbortController();
    body(() => createConnection(host.address, { timeout: 3_600_000, signal }));
    t.is(getEventListeners(signal, 'abort').length, 0);
  },

  'createConnection() that looks a name up': (body) => {
    withDeafResolver((resolver) => {
      body(() => createConnection({ host: 'www.test', port: 80 }, { resolver }));
    });
  },

  'lookup()': (body) => {
    withDeafResolver((resolver) => body(() => resolver.lookup('www.test')));
  },

  'lookup() with a limit and a signal': (body, t) => {
    const { signal } = new AbortController();
    withDeafResolver((resolver) => {
      body(() => resolver.lookup('www.test', { timeout: 3_600_000, signal }));
    });
    t.is(getEventListeners(signal, 'abort').length, 0);
  },
};

/** Calls `body` with a resolver whose only nameserver never answers. */
function withDeafResolver(body: (resolver: Resolver) => void): void {
  using server = nameserver(() => undefined);
  const resolver = new Resolver({
    nameservers: [server.address],
    timeout: 3_600_000,
    tries: 1,
    hosts: false,
  });
  try {
    body(resolver);
  } finally {
    resolver.close();
  }
}

/** What is held, but for what happens to be ready at this moment: beside a restless greenlet that says nothing. */
function held(): Omit<Residue, 'ready'> {
  const { ready: _, ...rest } = residue();
  return rest;
}

/** Runs `park` in a greenlet up to its park. */
function parkedIn(park: () => unknown): Greenlet<unknown> {
  const greenlet = spawn(park);
  // A few turns: a name must be looked up and a buffer filled before the greenlet parks for good.
  sleep(20);
  return greenlet;
}

function leavesNothingBehind(
  define: (title: string, body: (t: ExecutionContext) => void) => void,
  name: string,
  point: ParkPoint,
): void {
  define(`a kill at ${name} leaves nothing behind`, (t) => {
    point((park) => {
      const before = held();
      const greenlet = parkedIn(park);
      t.true(held().greenlets > before.greenlets, 'it did not park');
      greenlet.kill();
      t.true(greenlet.value instanceof GreenletExit);
      sleep(1);
      t.deepEqual(held(), before);
    }, t);
  });

  define(`an asynchronous kill with an error at ${name} leaves nothing behind`, (t) => {
    point((park) => {
      const before = held();
      const greenlet = parkedIn(park);
      const error = new Error('on purpose');
      kill(greenlet, error);
      muted(() => {
        greenlet.join();
        severalTurns();
      });
      t.is(greenlet.error, error);
      t.deepEqual(held(), before);
    }, t);
  });

  define(`a timeout at ${name} leaves nothing behind`, (t) => {
    point((park) => {
      const before = held();
      const greenlet = spawn(() => {
        using timeout = Timeout.startNew(10);
        return thrownBy(park) === timeout;
      });
      t.is(greenlet.get(), true);
      sleep(1);
      t.deepEqual(held(), before);
    }, t);
  });

  define(`after a kill that was caught at ${name} the greenlet can park there again`, (t) => {
    point((park) => {
      const before = held();
      const caught: unknown[] = [];
      const greenlet = spawn(() => {
        caught.push(thrownBy(park));
        caught.push(thrownBy(park));
      });
      sleep(20);
      muted(() => {
        kill(greenlet);
        sleep(20);
        kill(greenlet);
        greenlet.join();
      });
      t.deepEqual(
        caught.map((error) => GreenletExit.is(error)),
        [true, true],
      );
      sleep(1);
      t.deepEqual(held(), before);
    }, t);
  });
}

for (const [name, point] of Object.entries(parkPoints)) leavesNothingBehind(virtualTest, name, point);
for (const [name, point] of Object.entries(outsideParkPoints)) leavesNothingBehind(hubTest, name, point);

/** As `idle()`, also beside a greenlet that never parks for good. */
function severalTurns(): void {
  for (let turn = 0; turn < 20; turn++) sleep(0);
}

hubTest('ten thousand greenlets killed in their sleep leave no timer', (t) => {
  const before = residue();
  const greenlets = Array.from({ length: 10_000 }, () => spawn(parkForLong));
  idle();
  t.is(residue().timers, before.timers + 10_000);
  killAll(greenlets);
  t.deepEqual(residue(), before);
});

virtualTest('a greenlet that ends leaves no link on those it gave up waiting for', (t) => {
  const awaited = parked();
  for (let round = 0; round < 100; round++) awaited.join(0.1);
  t.false(awaited.hasLinks());
  awaited.kill();
});
