import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import test from 'ava';
import {
  GreenletExit,
  asyncify,
  getCurrent,
  idle,
  joinAll,
  run,
  sleep,
  spawn,
  spawnLater,
  spawnRaw,
  waitFor,
} from 'greenstack';
import { Gate, interleaved, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { runProgram } from './support/program.js';
import { settle } from './support/residue.js';

const storage = new AsyncLocalStorage<unknown>();

/** Leaves for the other greenlets, through the hub and from one greenlet to the next. */
function pass(): void {
  sleep(0);
  waitFor(new Promise((resolve) => setImmediate(resolve)));
  sleep(0.1);
}

// At spawn

hubTest('a greenlet inherits the context of its spawner', (t) => {
  const greenlet = storage.run('inherited', () => spawn(() => storage.getStore()));
  t.is(greenlet.get(), 'inherited');
});

hubTest('the context is captured at spawn, not at the first turn', (t) => {
  const greenlet = storage.run('at spawn', () => spawn(() => storage.getStore()));
  storage.run('at join', () => t.is(greenlet.get(), 'at spawn'));
});

hubTest('spawnLater() captures the context', (t) => {
  const greenlet = storage.run('inherited', () => spawnLater(1, () => storage.getStore()));
  t.is(greenlet.get(), 'inherited');
});

hubTest('spawnRaw() captures the context', (t) => {
  let seen: unknown;
  storage.run('inherited', () => spawnRaw(() => (seen = storage.getStore())));
  idle();
  t.is(seen, 'inherited');
});

hubTest('a greenlet spawned by a greenlet inherits what that one has set', (t) => {
  const greenlet = spawn(() => {
    storage.enterWith('set by the parent');
    pass();
    return spawn(() => storage.getStore()).get();
  });
  t.is(greenlet.get(), 'set by the parent');
});

hubTest('a greenlet that one sets a context in leaves it to nobody', (t) => {
  spawn(() => storage.enterWith('mine')).join();
  t.is(storage.getStore(), undefined);
  t.is(spawn(() => storage.getStore()).get(), undefined);
});

test.serial('run() captures the context', async (t) => {
  const seen = await storage.run('inherited', () =>
    run(() => {
      pass();
      return storage.getStore();
    }),
  );
  t.is(seen, 'inherited');
});

test.serial('an asyncified function runs in the context of its caller', async (t) => {
  const ask = asyncify(() => {
    sleep(1);
    return storage.getStore();
  });
  const seen = await Promise.all([1, 2, 3].map((id) => storage.run(id, ask)));
  t.deepEqual(seen, [1, 2, 3]);
});

// Across parks

hubTest('run() keeps its store across a park', (t) => {
  const seen = interleaved((id) =>
    storage.run(id, () => {
      const before = storage.getStore();
      pass();
      return [before, storage.getStore()];
    }),
  );
  t.deepEqual(seen, [
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
});

hubTest('run() puts the store back that was there, however many parks it had', (t) => {
  const seen = interleaved((id) => {
    storage.enterWith(`outer ${id}`);
    storage.run('inner', pass);
    const after = storage.getStore();
    pass();
    return [after, storage.getStore()];
  });
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => [`outer ${id}`, `outer ${id}`]),
  );
});

hubTest('run() puts the store back when its function throws after a park', (t) => {
  const seen = interleaved((id) => {
    storage.enterWith(id);
    thrownBy(() =>
      storage.run('inner', () => {
        pass();
        throw new Error('on purpose');
      }),
    );
    return storage.getStore();
  });
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('run() puts the store back when a kill ends its function', (t) => {
  let after: unknown;
  const greenlet = spawn(() => {
    storage.enterWith('outer');
    try {
      storage.run('inner', parkForLong);
    } finally {
      after = storage.getStore();
    }
  });
  idle();
  greenlet.kill();
  t.is(after, 'outer');
  t.true((greenlet.value as unknown) instanceof GreenletExit);
});

hubTest('enterWith() lasts across a park', (t) => {
  const seen = interleaved((id) => {
    storage.enterWith(id);
    pass();
    return storage.getStore();
  });
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('exit() hides the store across a park, and brings it back', (t) => {
  const seen = interleaved((id) =>
    storage.run(id, () => {
      const within = storage.exit(() => {
        pass();
        return storage.getStore();
      });
      pass();
      return [within, storage.getStore()];
    }),
  );
  t.deepEqual(seen, [
    [undefined, 1],
    [undefined, 2],
    [undefined, 3],
  ]);
});

hubTest('nested run() with parks in between give each level its store', (t) => {
  const descend = (id: number, level: number): unknown[] =>
    storage.run(`${id}.${level}`, () => {
      pass();
      const below = level < 5 ? descend(id, level + 1) : [];
      pass();
      return [storage.getStore(), ...below];
    });
  t.deepEqual(
    interleaved((id) => descend(id, 1)),
    [1, 2, 3].map((id) => [1, 2, 3, 4, 5].map((level) => `${id}.${level}`)),
  );
});

hubTest('two storages do not disturb each other', (t) => {
  const other = new AsyncLocalStorage<string>();
  const seen = interleaved((id) =>
    storage.run(id, () =>
      other.run(`other ${id}`, () => {
        pass();
        storage.run('inner', pass);
        return [storage.getStore(), other.getStore()];
      }),
    ),
  );
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => [id, `other ${id}`]),
  );
});

hubTest('a link does not run in the context of whoever joins its greenlet', (t) => {
  const gate = new Gate();
  let seen: unknown = 'nothing';
  const greenlet = spawn(() => gate.pass());
  greenlet.link(() => (seen = storage.getStore()));
  idle();
  storage.run('of the joiner', () => {
    gate.open();
    greenlet.join();
    idle();
  });
  t.is(seen, undefined);
});

// What a greenlet starts

hubTest('a timer started in a greenlet sees its store', (t) => {
  const seen = interleaved((id) =>
    storage.run(id, () => {
      pass();
      return waitFor(new Promise((resolve) => setTimeout(() => resolve(storage.getStore()), 1)));
    }),
  );
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('setImmediate() in a greenlet sees its store', (t) => {
  const seen = interleaved((id) =>
    storage.run(id, () => {
      pass();
      return waitFor(new Promise((resolve) => setImmediate(() => resolve(storage.getStore()))));
    }),
  );
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('nextTick() in a greenlet sees its store', (t) => {
  const seen = interleaved((id) =>
    storage.run(id, () => {
      pass();
      return waitFor(new Promise((resolve) => process.nextTick(() => resolve(storage.getStore()))));
    }),
  );
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('a promise chain started in a greenlet sees its store', (t) => {
  const seen = interleaved((id) =>
    storage.run(id, () => {
      pass();
      return waitFor(
        Promise.resolve()
          .then(() => new Promise((resolve) => setImmediate(resolve)))
          .then(() => storage.getStore()),
      );
    }),
  );
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('an async function called in a greenlet sees its store after each await', (t) => {
  const ask = async () => {
    const seen = [storage.getStore()];
    await Promise.resolve();
    seen.push(storage.getStore());
    await new Promise((resolve) => setImmediate(resolve));
    seen.push(storage.getStore());
    return seen;
  };
  const seen = interleaved((id) =>
    storage.run(id, () => {
      pass();
      return waitFor(ask());
    }),
  );
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => [id, id, id]),
  );
});

hubTest('waiting for a promise of another context does not bring that context', (t) => {
  const promise = storage.run('elsewhere', async () => {
    await new Promise((resolve) => setImmediate(resolve));
    return storage.getStore();
  });
  const seen = interleaved((id) => storage.run(id, () => [waitFor(promise), storage.getStore()]));
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => ['elsewhere', id]),
  );
});

// AsyncResource

hubTest('runInAsyncScope() may park', (t) => {
  const resources = [1, 2, 3].map((id) => storage.run(`resource ${id}`, () => new AsyncResource('TEST')));
  const seen = interleaved((id) =>
    storage.run(id, () => {
      const within = resources[id - 1]!.runInAsyncScope(() => {
        pass();
        return storage.getStore();
      });
      pass();
      return [within, storage.getStore()];
    }),
  );
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => [`resource ${id}`, id]),
  );
});

hubTest('runInAsyncScope() puts the store back when a park in it throws', (t) => {
  const resource = storage.run('resource', () => new AsyncResource('TEST'));
  const seen = interleaved((id) =>
    storage.run(id, () => {
      thrownBy(() =>
        resource.runInAsyncScope(() => {
          pass();
          throw new Error('on purpose');
        }),
      );
      return storage.getStore();
    }),
  );
  t.deepEqual(seen, [1, 2, 3]);
});

hubTest('a function bound by AsyncResource may park', (t) => {
  const bound = storage.run('bound', () =>
    AsyncResource.bind(() => {
      pass();
      return storage.getStore();
    }),
  );
  const seen = interleaved((id) => storage.run(id, () => [bound(), storage.getStore()]));
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => ['bound', id]),
  );
});

hubTest('a function bound by AsyncLocalStorage may park', (t) => {
  const bound = storage.run('bound', () =>
    AsyncLocalStorage.bind(() => {
      pass();
      return storage.getStore();
    }),
  );
  const seen = interleaved((id) => storage.run(id, () => [bound(), storage.getStore()]));
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => ['bound', id]),
  );
});

hubTest('a function in a snapshot may park', (t) => {
  const snapshot = storage.run('snapshot', () => AsyncLocalStorage.snapshot());
  const ask = () => {
    pass();
    return storage.getStore();
  };
  const seen = interleaved((id) => storage.run(id, () => [snapshot(ask), storage.getStore()]));
  t.deepEqual(
    seen,
    [1, 2, 3].map((id) => ['snapshot', id]),
  );
});

// Plain code

test.serial('greenlets that set contexts do not disturb plain code', async (t) => {
  const seen = await storage.run('plain', async () => {
    const greenlets = [1, 2, 3].map((id) =>
      spawn(() => {
        storage.enterWith(id);
        pass();
        return storage.getStore();
      }),
    );
    const stores: unknown[] = [];
    for (let turn = 0; turn < 10; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      stores.push(storage.getStore());
    }
    stores.push(...(await Promise.all(greenlets)));
    return stores;
  });
  t.deepEqual(seen, [...Array.from({ length: 10 }, () => 'plain'), 1, 2, 3]);
  t.is(storage.getStore(), undefined);
});

test.serial('a plain callback that wakes greenlets keeps its own store', async (t) => {
  const gate = new Gate();
  const greenlet = storage.run('greenlet', () =>
    spawn(() => {
      gate.pass();
      return storage.getStore();
    }),
  );
  await settle();
  const seen = await storage.run('callback', async () => {
    gate.open();
    const woken = await greenlet;
    return [woken, storage.getStore()];
  });
  t.deepEqual(seen, ['greenlet', 'callback']);
});

test.serial('plain run() and exit() go on working as Node has them', (t) => {
  storage.run('outer', () => {
    storage.run('inner', () => t.is(storage.getStore(), 'inner'));
    storage.exit(() => t.is(storage.getStore(), undefined));
    t.is(storage.getStore(), 'outer');
  });
  t.is(storage.getStore(), undefined);
  t.false(getCurrent() !== null && storage.getStore() !== undefined);
});

test.serial(
  'the first greenlet of a process inherits contexts of storages that are older than it',
  async (t) => {
    const { code, stdout, stderr } = await runProgram('early-context.js');
    t.is(code, 0, stderr);
    t.is(stdout, 'store, store after a park\nstore in plain code\n');
  },
);

// Many

/** A small generator with a period of 2^32, so that a failing interleaving can be run again. */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

hubTest('two hundred greenlets that set fresh contexts and park at random never see a wrong one', (t) => {
  const below = random(20_230_519);
  let checks = 0;
  let wrong = 0;
  const check = (expected: object | undefined) => {
    checks++;
    if (storage.getStore() !== expected) wrong++;
  };
  const waits = [
    () => sleep(0),
    () => sleep(below(3)),
    () => waitFor(Promise.resolve()),
    () => waitFor(new Promise((resolve) => setImmediate(resolve))),
    () => waitFor(new Promise((resolve) => setTimeout(resolve, below(3)))),
    () => waitFor(new Promise<void>((resolve) => process.nextTick(resolve))),
    () => spawn(() => sleep(0)).join(),
  ];
  const parkAtRandom = () => waits[below(waits.length)]!();

  const live = (expected: object | undefined, level: number): void => {
    for (let step = 0; step < 4; step++) {
      const fresh = { level };
      switch (below(level < 4 ? 4 : 1)) {
        case 1:
          storage.run(fresh, () => live(fresh, level + 1));
          break;
        case 2:
          storage.enterWith(fresh);
          expected = fresh;
          break;
        case 3:
          storage.exit(() => {
            parkAtRandom();
            check(undefined);
          });
      }
      check(expected);
      parkAtRandom();
      check(expected);
    }
  };
  joinAll(
    Array.from({ length: 200 }, () => spawn(live, undefined, 0)),
    { raiseError: true },
  );
  t.true(checks >= 200 * 8);
  t.is(wrong, 0, `of ${checks}`);
});
