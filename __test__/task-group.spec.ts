import { AsyncLocalStorage } from 'node:async_hooks';
import {
  BlockingSwitchOutError,
  Greenlet,
  GreenletExit,
  GreenstackError,
  TaskGroup,
  Timeout,
  Waiter,
  getCurrent,
  getHub,
  idle,
  joinAll,
  shield,
  sleep,
  spawn,
  spawnRaw,
} from 'greenstack';
import { Gate, current, parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { muted, stderrOf } from './support/stderr.js';

const CLOSED = {
  instanceOf: GreenstackError,
  code: 'ERR_GREENSTACK_TASK_GROUP_CLOSED',
};

/** What `body` returns or throws in a plain callback, where nothing can be parked. */
function inHub<T>(body: () => T): T {
  const outcome = new Waiter<T>();
  setImmediate(() => {
    try {
      outcome.switch(body());
    } catch (error) {
      outcome.throw(error);
    }
  });
  return outcome.get();
}

function fail(message = 'on purpose'): never {
  throw new Error(message);
}

/** Ignores every kill until `gate` is open. */
function stubborn(gate: Gate): void {
  for (;;) {
    try {
      return gate.pass();
    } catch {
      // Ignored: that is what makes it stubborn.
    }
  }
}

/** The errors of the `AggregateError` that `body` throws. */
function errorsOf(body: () => unknown): unknown[] {
  const error = thrownBy(body);
  if (error instanceof AggregateError) return error.errors;
  throw error;
}

// ---- without errors

hubTest('run() returns what the function returns', (t) => {
  t.is(
    TaskGroup.run(() => 'value'),
    'value',
  );
});

hubTest('run() without greenlets never switches', (t) => {
  const { switches } = getHub().stats();
  TaskGroup.run(() => {}, { timeout: 60_000 });
  t.is(getHub().stats().switches, switches);
});

hubTest('the function runs in the greenlet that calls run()', (t) => {
  const self = getCurrent();
  t.is(
    TaskGroup.run(() => getCurrent()),
    self,
  );
});

hubTest('run() waits for all greenlets of the group', (t) => {
  const ended: string[] = [];
  TaskGroup.run((group) => {
    for (const [name, turns] of [
      ['slow', 3],
      ['fast', 1],
    ] as const) {
      group.spawn(() => {
        for (let turn = 0; turn < turns; turn++) sleep(0);
        ended.push(name);
      });
    }
    ended.push('function');
  });
  t.deepEqual(ended, ['function', 'fast', 'slow']);
});

hubTest('spawn() passes arguments, and the greenlet has the result', (t) => {
  const sum = TaskGroup.run((group) => group.spawn((a: number, b: number) => a + b, 1, 2));
  t.is(sum!.value, 3);
});

hubTest('greenlets of the group may spawn others in it', (t) => {
  const ended: string[] = [];
  TaskGroup.run((group) => {
    group.spawn(() => {
      group.spawn(() => {
        sleep(0);
        ended.push('grandchild');
      });
      ended.push('child');
    });
  });
  t.deepEqual(ended, ['child', 'grandchild']);
});

hubTest('plain callbacks may spawn in the group as long as it is open', (t) => {
  const ended: string[] = [];
  TaskGroup.run((group) => {
    const gate = new Gate();
    group.spawn(() => gate.pass());
    setImmediate(() => {
      group.spawn(() => ended.push('from a callback'));
      gate.open();
    });
  });
  t.deepEqual(ended, ['from a callback']);
});

hubTest(
  'a greenlet that comes after the last one has ended, and before run() goes on, is waited for',
  (t) => {
    let late: Greenlet<void> | undefined;
    TaskGroup.run((group) => {
      group.spawn(() => {
        getHub().runCallback(() => (late = group.spawn(() => sleep(0))));
      });
    });
    t.true(late!.ready);
  },
);

hubTest('groups nest', (t) => {
  const ended: string[] = [];
  TaskGroup.run((outer) => {
    outer.spawn(() => {
      TaskGroup.run((inner) => {
        inner.spawn(() => {
          sleep(0);
          ended.push('inner');
        });
      });
      ended.push('outer');
    });
  });
  t.deepEqual(ended, ['inner', 'outer']);
});

hubTest('run() works in a raw greenlet', (t) => {
  let result: unknown;
  spawnRaw(() => {
    result = TaskGroup.run((group) => group.spawn(() => 'value'))?.value;
  });
  idle();
  t.is(result, 'value');
});

hubTest('greenlets of the group have the async context of their spawner', (t) => {
  const storage = new AsyncLocalStorage<string>();
  const child = TaskGroup.run((group) => storage.run('mine', () => group.spawn(() => storage.getStore())));
  t.is(child!.value, 'mine');
});

hubTest('greenlets shows who is there', (t) => {
  TaskGroup.run((group) => {
    const gate = new Gate();
    const child = group.spawn(() => gate.pass());
    t.deepEqual([...group.greenlets], [child]);
    t.is(String(group), '<TaskGroup 1 greenlet>');
    gate.open();
    child.join();
    t.is(group.greenlets.size, 0);
    group.cancel();
    t.is(String(group), '<TaskGroup 0 greenlets, cancelled>');
  });
});

hubTest('reports tell who waits for a group', (t) => {
  const gate = new Gate();
  const host = spawn(() => TaskGroup.run((group) => void group.spawn(() => gate.pass())));
  idle();
  t.regex(String(host), /parked in TaskGroup\.run\(\) of <TaskGroup 1 greenlet>/);
  gate.open();
  host.join();
});

// ---- bad input

hubTest('run() refuses what is no function', (t) => {
  t.throws(() => TaskGroup.run(5 as unknown as () => void), {
    instanceOf: TypeError,
    message: 'TaskGroup.run() expects a function, got number',
  });
});

for (const options of [
  5,
  { timeout: 'soon' },
  { timeout: Number.NaN },
  { deadline: 'tomorrow' },
  { deadline: Number.NaN },
  { signal: {} },
]) {
  hubTest(`run() refuses the options ${JSON.stringify(options)}`, (t) => {
    let called = false;
    t.throws(() => TaskGroup.run(() => (called = true), options as object), {
      instanceOf: TypeError,
      message: /^TaskGroup\.run\(\)/,
    });
    t.false(called);
  });
}

hubTest('outside greenlets run() throws, and does not call the function', (t) => {
  let called = false;
  t.throws(() => inHub(() => TaskGroup.run(() => (called = true))), {
    instanceOf: BlockingSwitchOutError,
  });
  t.false(called);
});

hubTest('spawn() refuses what is no function, and the group goes on', (t) => {
  TaskGroup.run((group) => {
    t.throws(() => group.spawn(5 as unknown as () => void), {
      instanceOf: TypeError,
      message: 'TaskGroup.spawn() expects a function, got number',
    });
    t.false(group.cancelled);
    t.is(group.spawn(() => 1).get(), 1);
  });
});

hubTest('spawn() into a group that is over throws', (t) => {
  const group = TaskGroup.run((open) => open)!;
  t.throws(() => group.spawn(() => {}), { ...CLOSED, message: /is over/ });
});

hubTest('spawn() into a cancelled group throws', (t) => {
  TaskGroup.run((group) => {
    group.cancel();
    t.throws(() => group.spawn(() => {}), {
      ...CLOSED,
      message: /has been cancelled/,
    });
  });
});

hubTest('cancel() of a group that is over does nothing', (t) => {
  const group = TaskGroup.run((open) => open)!;
  group.cancel();
  t.false(group.cancelled);
});

// ---- errors of greenlets

hubTest('the error of a greenlet is thrown as an AggregateError', (t) => {
  const error = new Error('no such table');
  const thrown = thrownBy(() =>
    TaskGroup.run((group) => {
      group.spawn(() => {
        throw error;
      });
    }),
  );
  t.true(thrown instanceof AggregateError);
  t.deepEqual((thrown as AggregateError).errors, [error]);
  t.is((thrown as AggregateError).message, 'a greenlet of the task group failed: no such table');
});

hubTest('the message of the AggregateError shows the first errors', (t) => {
  const together = (count: number) => () =>
    TaskGroup.run((group) => {
      const gate = new Gate();
      for (let number = 1; number <= count; number++) {
        group.spawn(() => {
          try {
            gate.pass();
          } finally {
            fail(`error ${number}`);
          }
        });
      }
      idle();
      gate.open();
    });
  t.throws(together(2), {
    message: '2 greenlets of the task group failed: error 1; error 2',
  });
  t.throws(together(5), {
    message: '5 greenlets of the task group failed: error 1; error 2; error 3; …',
  });
});

hubTest('values that are no errors can be thrown, too', (t) => {
  const thrown = thrownBy(() =>
    TaskGroup.run((group) => {
      group.spawn(() => {
        throw { status: 404 };
      });
    }),
  );
  t.is((thrown as Error).message, 'a greenlet of the task group failed: { status: 404 }');
});

hubTest('the first failure kills the rest', (t) => {
  let sibling: Greenlet | undefined;
  const errors = errorsOf(() =>
    TaskGroup.run((group) => {
      sibling = group.spawn(parkForLong);
      group.spawn(fail);
    }),
  );
  t.is(errors.length, 1);
  t.true(GreenletExit.is(sibling!.value));
  t.is((sibling!.value as Error).message, 'the task group was cancelled');
  t.is((sibling!.value as Error).cause, errors[0]);
});

hubTest('the first failure keeps those from running that have not begun', (t) => {
  let began = false;
  errorsOf(() =>
    TaskGroup.run((group) => {
      group.spawn(fail);
      group.spawn(() => (began = true));
    }),
  );
  t.false(began);
});

hubTest('the first failure ends the function where it is parked', (t) => {
  let caught: unknown;
  const errors = errorsOf(() =>
    TaskGroup.run((group) => {
      group.spawn(fail);
      try {
        parkForLong();
      } catch (error) {
        caught = error;
        throw error;
      }
    }),
  );
  t.true(GreenletExit.is(caught));
  t.is((caught as Error).cause, errors[0]);
});

hubTest('errors while being killed are thrown as well, in the order in which they came', (t) => {
  const errors = errorsOf(() =>
    TaskGroup.run((group) => {
      group.spawn(() => {
        try {
          parkForLong();
        } finally {
          fail('second');
        }
      });
      group.spawn(() => {
        sleep(0);
        fail('first');
      });
    }),
  );
  t.deepEqual(
    errors.map((error) => (error as Error).message),
    ['first', 'second'],
  );
});

hubTest('errors that run() throws are not reported', (t) => {
  const printed = stderrOf(() => errorsOf(() => TaskGroup.run((group) => void group.spawn(fail))));
  t.is(printed, '');
});

hubTest(
  'an error that the function gets by asking the greenlet is thrown once, in the AggregateError',
  (t) => {
    const errors = errorsOf(() =>
      TaskGroup.run((group) => {
        const child = group.spawn(fail);
        // The shield keeps the cancellation off, and `get` of an ended greenlet does not park.
        shield(() => sleep(0));
        child.get();
      }),
    );
    t.deepEqual(
      errors.map((error) => (error as Error).message),
      ['on purpose'],
    );
  },
);

hubTest('a greenlet that is killed from outside is no failure', (t) => {
  const result = TaskGroup.run((group) => {
    const child = group.spawn(parkForLong);
    idle();
    child.kill();
    t.false(group.cancelled);
    return 'value';
  });
  t.is(result, 'value');
});

hubTest('a greenlet that is killed by an error has failed', (t) => {
  const errors = errorsOf(() =>
    TaskGroup.run((group) => {
      const child = group.spawn(parkForLong);
      idle();
      child.kill(new Error('on purpose'), { block: false });
      parkForLong();
    }),
  );
  t.is(errors.length, 1);
});

hubTest('after a failure nothing can be spawned, not even while cleaning up', (t) => {
  const errors = errorsOf(() =>
    TaskGroup.run((group) => {
      group.spawn(() => {
        try {
          parkForLong();
        } finally {
          group.spawn(() => {});
        }
      });
      idle();
      group.spawn(fail);
    }),
  );
  t.is(errors.length, 2);
  t.is((errors[1] as GreenstackError).code, 'ERR_GREENSTACK_TASK_GROUP_CLOSED');
});

hubTest('a failure in an inner group goes through the outer one', (t) => {
  let sibling: Greenlet | undefined;
  const errors = errorsOf(() =>
    TaskGroup.run((outer) => {
      sibling = outer.spawn(parkForLong);
      outer.spawn(() => TaskGroup.run((inner) => void inner.spawn(fail)));
    }),
  );
  t.true(errors[0] instanceof AggregateError);
  t.true(GreenletExit.is(sibling!.value));
});

hubTest('a promise that a greenlet returns is not touched', (t) => {
  const promise = Promise.resolve(5);
  const child = TaskGroup.run((group) => group.spawn(() => promise));
  t.is(child!.value, promise);
});

// ---- errors of the function

hubTest('an error that leaves the function is thrown as it is, after all have ended', (t) => {
  const error = new Error('on purpose');
  let child: Greenlet | undefined;
  const thrown = thrownBy(() =>
    TaskGroup.run((group) => {
      child = group.spawn(() => {
        try {
          parkForLong();
        } finally {
          sleep(0);
        }
      });
      idle();
      throw error;
    }),
  );
  t.is(thrown, error);
  t.true(GreenletExit.is(child!.value));
  t.is((child!.value as Error).cause, error);
});

hubTest('errors of greenlets beside an error of the function are reported', (t) => {
  const printed = stderrOf(() => {
    t.throws(
      () =>
        TaskGroup.run((group) => {
          group.spawn(() => {
            try {
              parkForLong();
            } finally {
              fail('of the greenlet');
            }
          });
          idle();
          fail('of the function');
        }),
      { message: 'of the function' },
    );
  });
  t.is(printed.match(/Error: of the greenlet/g)?.length, 1);
});

hubTest('what the function makes of its cancellation is thrown, and the cause is reported', (t) => {
  const printed = stderrOf(() => {
    t.throws(
      () =>
        TaskGroup.run((group) => {
          group.spawn(() => fail('the cause'));
          try {
            parkForLong();
          } catch (error) {
            throw new Error('converted', { cause: error });
          }
        }),
      { message: 'converted' },
    );
  });
  t.is(printed.match(/^Error: the cause/gm)?.length, 1);
});

// ---- cancel()

hubTest('cancel() ends the greenlets, and is no error', (t) => {
  const child = TaskGroup.run((group) => {
    const parkedChild = group.spawn(parkForLong);
    idle();
    group.cancel();
    t.true(group.cancelled);
    return parkedChild;
  });
  t.true(GreenletExit.is(child!.value));
});

hubTest('cancel() by the function ends it at its next park; then run() returns undefined', (t) => {
  let went = '';
  const result = TaskGroup.run((group) => {
    group.cancel();
    went = 'on';
    sleep(0);
    went = 'too far';
    return 'value';
  });
  t.is(result, undefined);
  t.is(went, 'on');
});

hubTest('a cancellation that the function does not meet is forgotten', (t) => {
  const result = TaskGroup.run((group) => {
    group.cancel();
    return 'value';
  });
  t.is(result, 'value');
  sleep(0);
  t.pass();
});

hubTest('cancel() by one of its greenlets ends all others, and itself at its next park', (t) => {
  let went = '';
  let killer: Greenlet | undefined;
  let sibling: Greenlet | undefined;
  const result = TaskGroup.run((group) => {
    sibling = group.spawn(parkForLong);
    killer = group.spawn(() => {
      group.cancel();
      went = 'on';
      sleep(0);
      went = 'too far';
    });
    return 'value';
  });
  t.is(result, 'value');
  t.is(went, 'on');
  t.true(GreenletExit.is(killer!.value));
  t.true(GreenletExit.is(sibling!.value));
});

hubTest('cancel() by a plain callback ends the function where it is parked', (t) => {
  const result = TaskGroup.run((group) => {
    setImmediate(() => group.cancel());
    parkForLong();
  });
  t.is(result, undefined);
});

hubTest('cancel() by a greenlet outside of the group', (t) => {
  let group: TaskGroup | undefined;
  const host = spawn(() =>
    TaskGroup.run((own) => {
      group = own;
      own.spawn(parkForLong);
      return 'value';
    }),
  );
  idle();
  group!.cancel();
  t.is(host.get(), 'value');
});

hubTest('cancel(reason) gives the kills their cause', (t) => {
  const reason = new Error('found it');
  const child = TaskGroup.run((group) => {
    const loser = group.spawn(parkForLong);
    idle();
    group.cancel(reason);
    group.cancel('too late');
    return loser;
  });
  t.is((child!.value as Error).cause, reason);
});

hubTest('errors while being cancelled are thrown', (t) => {
  const errors = errorsOf(() =>
    TaskGroup.run((group) => {
      group.spawn(() => {
        try {
          parkForLong();
        } finally {
          fail('while cleaning up');
        }
      });
      idle();
      group.cancel();
    }),
  );
  t.is((errors[0] as Error).message, 'while cleaning up');
});

hubTest('a cancellation of an outer group ends an inner one', (t) => {
  let inner: Greenlet | undefined;
  let went = '';
  TaskGroup.run((outer) => {
    setImmediate(() => outer.cancel());
    TaskGroup.run((group) => {
      inner = group.spawn(parkForLong);
    });
    went = 'too far';
  });
  t.true(GreenletExit.is(inner!.value));
  t.is(went, '');
});

hubTest('a cancellation of an inner group ends at its edge', (t) => {
  let went = '';
  const outerChild = TaskGroup.run((outer) => {
    const child = outer.spawn(() => {
      sleep(0);
      return 'lived';
    });
    TaskGroup.run((inner) => {
      inner.cancel();
      sleep(0);
    });
    went = 'on';
    sleep(0);
    return child;
  });
  t.is(went, 'on');
  t.is(outerChild!.value, 'lived');
});

hubTest('a cancellation goes through the shields that were there before, and waits for those inside', (t) => {
  const order: string[] = [];
  shield(() =>
    TaskGroup.run((group) => {
      setImmediate(() => group.cancel());
      shield(() => {
        sleep(2);
        order.push('shielded');
      });
      parkForLong();
      order.push('too far');
    }),
  );
  t.deepEqual(order, ['shielded']);
});

// ---- time and signals

hubTest('a timeout ends all, and throws a Timeout', (t) => {
  let child: Greenlet | undefined;
  const error = t.throws(
    () =>
      TaskGroup.run(
        (group) => {
          child = group.spawn(parkForLong);
          parkForLong();
        },
        { timeout: 2 },
      ),
    { instanceOf: Timeout, message: '2 ms' },
  );
  t.true(GreenletExit.is(child!.value));
  t.is((child!.value as Error).cause, error);
  t.regex(error.stack!, /task-group\.spec/);
});

hubTest('a timeout ends greenlets after the function has returned', (t) => {
  t.throws(() => TaskGroup.run((group) => void group.spawn(parkForLong), { timeout: 1 }), {
    instanceOf: Timeout,
  });
});

hubTest('a Timeout object as the timeout is thrown itself', (t) => {
  const timeout = new Timeout(1, 'the whole group');
  t.throws(() => TaskGroup.run(parkForLong, { timeout }), { is: timeout });
});

hubTest('the error of a Timeout object is thrown', (t) => {
  class TooSlow extends Error {}
  t.throws(() => TaskGroup.run(parkForLong, { timeout: new Timeout(1, TooSlow) }), { instanceOf: TooSlow });
});

hubTest('a Timeout with the error false ends the group silently', (t) => {
  const result = TaskGroup.run(
    (group) => {
      group.spawn(parkForLong);
      return 'value';
    },
    { timeout: new Timeout(1, false) },
  );
  t.is(result, 'value');
});

hubTest('a pending Timeout with the error false ends the group silently', (t) => {
  for (const options of [{}, { deadline: getHub().now() + 3_600_000 }]) {
    // It comes while the function runs, or while the group waits for its greenlets.
    for (const [body, value] of [
      [parkForLong, undefined],
      [() => 'value', 'value'],
    ] as [() => unknown, unknown][]) {
      const ended: string[] = [];
      const timeout = Timeout.startNew(1, false);
      const result = TaskGroup.run(
        (group) => {
          group.spawn(() => {
            try {
              parkForLong();
            } finally {
              ended.push('greenlet');
            }
          });
          return body();
        },
        { ...options, timeout },
      );
      t.is(result, value);
      t.deepEqual(ended, ['greenlet']);
    }
  }
  const other = Timeout.startNew(1, false);
  t.is(
    thrownBy(() => TaskGroup.run(parkForLong, { timeout: 3_600_000 })),
    other,
  );
});

hubTest('a Timeout that is pending already throws by itself', (t) => {
  const timeout = Timeout.startNew(1);
  t.is(
    thrownBy(() => TaskGroup.run((group) => void group.spawn(parkForLong), { timeout })),
    timeout,
  );
});

hubTest('a timeout that is not used up leaves nothing behind', (t) => {
  const { timers } = getHub().stats();
  TaskGroup.run((group) => void group.spawn(() => sleep(0)), {
    timeout: 60_000,
  });
  t.is(getHub().stats().timers, timers);
});

hubTest('a deadline is a point in time', (t) => {
  const deadline = getHub().now() + 2;
  t.throws(() => TaskGroup.run(parkForLong, { deadline }), {
    instanceOf: Timeout,
  });
  t.true(getHub().now() >= deadline);
});

hubTest('a deadline that has passed ends the function at its first park', (t) => {
  let began = false;
  const run = (): unknown =>
    TaskGroup.run(
      () => {
        began = true;
        parkForLong();
      },
      { deadline: 0 },
    );
  t.throws(run, { instanceOf: Timeout });
  t.true(began);
});

hubTest('of timeout and deadline the earlier one counts', (t) => {
  const now = getHub().now();
  t.true(
    TaskGroup.run((group) => group.deadline, {
      timeout: 60_000,
      deadline: now + 50_000,
    })! <
      now + 60_000,
  );
  t.true(
    TaskGroup.run((group) => group.deadline, {
      timeout: 50_000,
      deadline: now + 90_000,
    })! <
      now + 60_000,
  );
  t.is(
    TaskGroup.run((group) => group.deadline),
    Infinity,
  );
  t.is(
    TaskGroup.run((group) => group.deadline, {
      timeout: null,
      deadline: Infinity,
    }),
    Infinity,
  );
});

hubTest('an inner deadline never outlasts the outer one', (t) => {
  let innermost: Greenlet | undefined;
  t.throws(
    () =>
      TaskGroup.run(
        () =>
          TaskGroup.run(
            (inner) => {
              innermost = inner.spawn(parkForLong);
            },
            { timeout: 3_600_000 },
          ),
        { timeout: 2 },
      ),
    { instanceOf: Timeout, message: '2 ms' },
  );
  t.true(GreenletExit.is(innermost!.value));
});

hubTest('an inner deadline ends only the inner group', (t) => {
  const order: string[] = [];
  TaskGroup.run(
    () => {
      t.throws(() => TaskGroup.run(parkForLong, { timeout: 1 }), {
        instanceOf: Timeout,
        message: '1 ms',
      });
      sleep(0);
      order.push('outer goes on');
    },
    { timeout: 60_000 },
  );
  t.deepEqual(order, ['outer goes on']);
});

hubTest('errors of greenlets beside a timeout are reported', (t) => {
  const printed = stderrOf(() => {
    const run = (): unknown =>
      TaskGroup.run(
        (group) => {
          group.spawn(() => {
            try {
              parkForLong();
            } finally {
              fail('while cleaning up');
            }
          });
        },
        { timeout: 1 },
      );
    t.throws(run, { instanceOf: Timeout });
  });
  t.is(printed.match(/Error: while cleaning up/g)?.length, 1);
});

hubTest('a time that is up after a failure does not hide it', (t) => {
  const errors = errorsOf(() =>
    TaskGroup.run(
      (group) => {
        group.spawn(() => shield(() => sleep(5)));
        group.spawn(fail);
      },
      { timeout: 1 },
    ),
  );
  t.is((errors[0] as Error).message, 'on purpose');
});

hubTest('an aborted signal ends all, and its reason is thrown', (t) => {
  const controller = new AbortController();
  const reason = new Error('aborted');
  let child: Greenlet | undefined;
  setImmediate(() => controller.abort(reason));
  t.throws(
    () =>
      TaskGroup.run((group) => void (child = group.spawn(parkForLong)), {
        signal: controller.signal,
      }),
    {
      is: reason,
    },
  );
  t.true(GreenletExit.is(child!.value));
});

hubTest('a signal that is aborted already keeps the function from being called', (t) => {
  let called = false;
  const reason = new Error('aborted');
  t.throws(
    () =>
      TaskGroup.run(() => (called = true), {
        signal: AbortSignal.abort(reason),
      }),
    { is: reason },
  );
  t.false(called);
});

// ---- interruptions from outside

hubTest('a caller that is killed in the function takes the greenlets with it', (t) => {
  let child: Greenlet | undefined;
  const host = spawn(() =>
    TaskGroup.run((group) => {
      child = group.spawn(parkForLong);
      parkForLong();
    }),
  );
  idle();
  host.kill();
  t.true(GreenletExit.is(host.value));
  t.true(GreenletExit.is(child!.value));
});

hubTest('a caller that is killed while it waits takes the greenlets with it', (t) => {
  let child: Greenlet | undefined;
  const host = spawn(() => TaskGroup.run((group) => void (child = group.spawn(parkForLong))));
  idle();
  host.kill();
  t.true(GreenletExit.is(host.value));
  t.true(GreenletExit.is(child!.value));
});

hubTest('a kill by an error is thrown as it is', (t) => {
  const error = new Error('on purpose');
  const host = spawn(() => TaskGroup.run((group) => void group.spawn(parkForLong)));
  idle();
  muted(() => host.kill(error));
  t.is(host.error, error);
});

hubTest('a killed caller waits until stubborn greenlets have ended, also when it is killed again', (t) => {
  const gate = new Gate();
  let child: Greenlet | undefined;
  let went = '';
  const host = spawn(() => {
    try {
      TaskGroup.run((group) => void (child = group.spawn(stubborn, gate)));
    } finally {
      went = child!.ready ? 'after the child' : 'before the child';
    }
  });
  idle();
  host.kill(undefined, { block: false });
  idle();
  host.kill(undefined, { block: false });
  idle();
  t.false(host.ready);
  gate.open();
  host.join();
  t.is(went, 'after the child');
  t.true(GreenletExit.is(host.value));
});

hubTest('a second interruption comes after the group, at the next park', (t) => {
  const gate = new Gate();
  const first = new Error('first');
  const second = new Error('second');
  const caught: unknown[] = [];
  const host = spawn(() => {
    caught.push(thrownBy(() => TaskGroup.run((group) => void group.spawn(stubborn, gate))));
    caught.push(thrownBy(parkForLong));
  });
  idle();
  host.kill(first, { block: false });
  idle();
  host.kill(second, { block: false });
  idle();
  gate.open();
  host.join();
  t.deepEqual(caught, [first, second]);
});

hubTest('an outer timeout in the function is thrown as it is', (t) => {
  const timeout = Timeout.startNew(1);
  const thrown = thrownBy(() =>
    TaskGroup.run((group) => {
      group.spawn(parkForLong);
      parkForLong();
    }),
  );
  t.is(thrown, timeout);
});

hubTest('an outer timeout during the wait is thrown as it is, also beside errors of greenlets', (t) => {
  const timeout = Timeout.startNew(1);
  const printed = stderrOf(() => {
    const thrown = thrownBy(() =>
      TaskGroup.run((group) => {
        group.spawn(() => {
          try {
            parkForLong();
          } finally {
            fail('of the greenlet');
          }
        });
      }),
    );
    t.is(thrown, timeout);
  });
  t.is(printed.match(/Error: of the greenlet/g)?.length, 1);
});

hubTest('a kill of the caller is not lost while its cancellation is on its way', (t) => {
  const gate = new Gate();
  let went = '';
  const host = spawn(() => {
    TaskGroup.run((group) => {
      group.cancel();
      // The cancellation is kept off by the shield, and so is the kill.
      shield(() => gate.pass());
    });
    went = 'on';
    sleep(0);
    went = 'too far';
  });
  idle();
  host.kill(undefined, { block: false });
  idle();
  t.is(went, '');
  gate.open();
  host.join();
  t.is(went, 'on');
  t.true(GreenletExit.is(host.value));
});

hubTest('a kill of the caller at the moment of its cancellation is not lost', (t) => {
  let group: TaskGroup | undefined;
  let went = '';
  const host = spawn(() => {
    TaskGroup.run((own) => {
      group = own;
      parkForLong();
    });
    sleep(0);
    went = 'too far';
  });
  idle();
  group!.cancel();
  host.kill();
  t.is(went, '');
  t.true(GreenletExit.is(host.value));
});

hubTest('a greenlet may kill the caller of its group', (t) => {
  const host = spawn(() => {
    const self = current();
    TaskGroup.run((group) => void group.spawn(() => self.kill()));
  });
  host.join();
  t.true(GreenletExit.is(host.value));
});

hubTest('nested groups of a killed caller end from the inside', (t) => {
  const order: string[] = [];
  const child = (name: string) => (): void => {
    try {
      parkForLong();
    } finally {
      sleep(0);
      order.push(name);
    }
  };
  const host = spawn(() =>
    TaskGroup.run((outer) => {
      outer.spawn(child('outer'));
      try {
        TaskGroup.run((inner) => void inner.spawn(child('inner')));
      } finally {
        order.push('function');
      }
    }),
  );
  idle();
  host.kill();
  t.deepEqual(order, ['inner', 'function', 'outer']);
});

hubTest('many groups at once, cancelled at every stage, leave nothing behind', (t) => {
  const hosts = Array.from({ length: 200 }, (_, number) =>
    spawn(() =>
      TaskGroup.run((group) => {
        for (let child = 0; child < number % 5; child++) {
          group.spawn(() => {
            for (let turn = 0; turn < child; turn++) sleep(0);
            if (number % 7 === child) group.cancel();
            if (number % 3 === 0) sleep(0);
          });
        }
        if (number % 2 === 0) sleep(0);
        return number;
      }),
    ),
  );
  for (const [number, host] of hosts.entries()) if (number % 11 === 0) host.kill(undefined, { block: false });
  joinAll(hosts, { raiseError: true });
  t.true(hosts.every(({ successful }) => successful));
  t.is(getHub().stats().greenlets, 1);
});
