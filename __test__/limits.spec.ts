/** What is promised of every blocking call: how its own timeout shows, and that nothing else that ends it is lost. */
import { getEventListeners } from 'node:events';
import type { ExecutionContext } from 'ava';
import {
  BlockingSwitchOutError,
  getHub,
  type Greenlet,
  GreenletExit,
  type Limits,
  sleep,
  spawn,
  Timeout,
  withTimeout,
} from 'greenstack';
import { type BlockingCall, blockingCalls, type Situation } from './support/blocking-calls.js';
import { parkForLong, thrownBy } from './support/greenlets.js';
import { hubTest } from './support/hub-test.js';
import { ManualTimeout } from './support/model/manual-timeout.js';

const HOUR = 3_600_000;

/** Limits that end a call by its own timeout, and the `Timeout` among them. */
interface Limiting {
  readonly limits: Limits;
  readonly timeout?: Timeout;
}

function withObject(make: (timeout: Timeout) => Limits, ms: number): Limiting {
  const timeout = new Timeout(ms);
  return { limits: make(timeout), timeout };
}

/** Every way to let a call time out by itself. */
const limitings = {
  bare: [
    () => ({ limits: 1 }),
    () => ({ limits: 0 }),
    () => ({ limits: -1 }),
    () => withObject((timeout) => timeout, 1),
    () => withObject((timeout) => timeout, 0),
  ],
  timeout: [
    () => ({ limits: { timeout: 1 } }),
    () => ({ limits: { timeout: 0 } }),
    () => withObject((timeout) => ({ timeout }), 1),
    () => withObject((timeout) => ({ timeout }), 0),
  ],
  block: [
    () => ({ limits: { block: false } }),
    () => ({ limits: { block: false, timeout: HOUR } }),
    () => withObject((timeout) => ({ block: false, timeout }), HOUR),
  ],
  signal: [],
} satisfies Record<string, (() => Limiting)[]>;

const allForms = ['bare', 'timeout', 'block', 'signal'] as const;

function formsOf({ forms = allForms }: BlockingCall): readonly (keyof typeof limitings)[] {
  return forms;
}

function limitingsOf(call: BlockingCall): Limiting[] {
  return formsOf(call).flatMap((form) => limitings[form].map((make: () => Limiting) => make()));
}

/** A test of one call, at the end of which nothing may be left and the object has to work. */
function limitTest(
  call: BlockingCall,
  sentence: string,
  body: (t: ExecutionContext, situation: Situation) => void,
): void {
  hubTest(`${call.name} ${sentence}`, (t) => {
    const situation = call.situation();
    const before = situation.left?.();
    try {
      body(t, situation);
      t.is(situation.left?.(), before, 'the call left something behind');
      assertWorks(t, situation);
    } finally {
      situation.close?.();
    }
  });
}

function assertWorks(t: ExecutionContext, { call, end, result }: Situation): void {
  if (end === undefined) return;
  const caller = spawn(() => call());
  sleep(0);
  t.false(caller.dead, 'it ends without waiting');
  end();
  t.deepEqual(caller.get(), result);
}

/** Asserts that a call shows that its own time is up. */
function assertShows(
  t: ExecutionContext,
  { onTimeout }: BlockingCall,
  limiting: Limiting,
  call: () => unknown,
) {
  if ('returns' in onTimeout) {
    t.deepEqual(call(), onTimeout.returns);
    return;
  }
  const error = thrownBy(call);
  if (limiting.timeout !== undefined) t.is(error, limiting.timeout);
  else t.true(onTimeout.throws(error), String(error));
}

/** What `fn` returns or throws in the hub. */
function inHub(fn: () => unknown): () => unknown {
  let outcome: () => unknown = () => undefined;
  getHub().runCallback(() => {
    try {
      const value = fn();
      outcome = () => value;
    } catch (error) {
      outcome = () => {
        throw error;
      };
    }
  });
  sleep(0);
  return outcome;
}

/** A greenlet that makes the call, notes what it returns, parks, and returns what is thrown in it. */
function callerOf(call: () => unknown): { caller: Greenlet; results: unknown[] } {
  const results: unknown[] = [];
  const caller = spawn(() =>
    thrownBy(() => {
      results.push(call());
      parkForLong();
    }),
  );
  sleep(0);
  return { caller, results };
}

/** Asserts that what the call waits for has come to it, or is there for the next one. */
function assertNotLost(t: ExecutionContext, results: unknown[], { call, result }: Situation): void {
  t.deepEqual(results.length > 0 ? results[0] : call(), result);
}

// A call's own timeout

for (const call of blockingCalls) {
  if (limitingsOf(call).length === 0) continue;

  limitTest(call, 'shows that its own time is up as it should', (t, situation) => {
    for (const limiting of limitingsOf(call)) {
      assertShows(t, call, limiting, () => situation.call(limiting.limits));
    }
  });

  limitTest(call, 'takes a Timeout that has been started already', (t, situation) => {
    const timeout = Timeout.startNew(1);
    const limits = formsOf(call).includes('bare') ? timeout : { timeout };
    assertShows(t, call, { limits, timeout }, () => situation.call(limits));
    t.false(timeout.pending);
  });

  limitTest(call, 'throws the error of its own Timeout, if that has one', (t, situation) => {
    const error = new Error('too late');
    t.is(
      thrownBy(() => situation.call({ timeout: new Timeout(1, error) })),
      error,
    );
  });

  limitTest(call, 'leaves an outer Timeout alone when its own time is up', (t, situation) => {
    using outer = Timeout.startNew(HOUR);
    const limiting = { limits: { timeout: 1 } };
    assertShows(t, call, limiting, () => situation.call(limiting.limits));
    t.true(outer.pending);
  });

  limitTest(call, 'lets an outer Timeout through that is earlier than its own', (t, situation) => {
    using outer = Timeout.startNew(1);
    t.is(
      thrownBy(() => situation.call({ timeout: HOUR })),
      outer,
    );
  });

  limitTest(call, 'lets an outer Timeout through that is earlier than its own Timeout', (t, situation) => {
    using outer = Timeout.startNew(1);
    t.is(
      thrownBy(() => situation.call({ timeout: new Timeout(HOUR) })),
      outer,
    );
  });
}

// An outer Timeout

for (const call of blockingCalls) {
  limitTest(call, 'lets an outer Timeout through', (t, situation) => {
    using outer = Timeout.startNew(1);
    t.is(
      thrownBy(() => situation.call()),
      outer,
    );
  });

  limitTest(call, 'lets an outer Timeout of no time through', (t, situation) => {
    using outer = Timeout.startNew(0);
    t.is(
      thrownBy(() => situation.call()),
      outer,
    );
  });

  limitTest(call, 'lets the Timeout of withTimeout() through', (t, situation) => {
    t.is(
      withTimeout(1, () => situation.call(), { timeoutValue: 'late' }),
      'late',
    );
  });

  limitTest(call, 'lets the error of an outer Timeout through', (t, situation) => {
    const error = new RangeError('too late');
    using _outer = Timeout.startNew(1, error);
    t.is(
      thrownBy(() => situation.call()),
      error,
    );
  });
}

// A kill

for (const call of blockingCalls) {
  limitTest(call, 'ends by a kill', (t, situation) => {
    const caller = spawn(() => situation.call());
    sleep(0);
    t.false(caller.dead);
    caller.kill();
    t.true(caller.value instanceof GreenletExit);
  });

  limitTest(call, 'throws the error of a kill', (t, situation) => {
    const error = new Error('enough');
    const caller = spawn(() => thrownBy(() => situation.call()));
    sleep(0);
    caller.kill(error);
    t.is(caller.value, error);
  });
}

// An aborted signal

for (const call of blockingCalls) {
  if (!formsOf(call).includes('signal')) continue;

  limitTest(call, 'throws the reason of a signal that is aborted meanwhile', (t, situation) => {
    const controller = new AbortController();
    const caller = spawn(() => thrownBy(() => situation.call({ signal: controller.signal })));
    sleep(0);
    t.is(getEventListeners(controller.signal, 'abort').length, 1);
    const reason = new Error('not wanted any more');
    controller.abort(reason);
    t.is(caller.get(), reason);
    t.is(getEventListeners(controller.signal, 'abort').length, 0);
  });

  limitTest(call, 'throws the reason of a signal that is aborted already', (t, situation) => {
    const reason = new Error('never wanted');
    const signal = AbortSignal.abort(reason);
    t.is(
      thrownBy(() => situation.call({ signal })),
      reason,
    );
    t.is(getEventListeners(signal, 'abort').length, 0);
  });

  limitTest(call, 'takes its listener off the signal when an outer Timeout ends it', (t, situation) => {
    const { signal } = new AbortController();
    using outer = Timeout.startNew(1);
    t.is(
      thrownBy(() => situation.call({ signal })),
      outer,
    );
    t.is(getEventListeners(signal, 'abort').length, 0);
  });
}

// Both at once

for (const call of blockingCalls) {
  hubTest(`${call.name} loses neither its result nor a kill when they come in the same turn`, (t) => {
    const situation = call.situation();
    const { caller, results } = callerOf(() => situation.call());
    situation.end?.();
    caller.kill();
    t.true(caller.value instanceof GreenletExit);
    if (situation.end !== undefined) assertNotLost(t, results, situation);
    situation.close?.();
  });

  hubTest(`${call.name} loses neither its result nor an outer Timeout in the same turn`, (t) => {
    const situation = call.situation();
    const outer = new ManualTimeout();
    const { caller, results } = callerOf(() => {
      outer.start();
      return situation.call();
    });
    situation.end?.();
    outer.fire();
    t.is(caller.get(), outer);
    if (situation.end !== undefined) assertNotLost(t, results, situation);
    situation.close?.();
  });
}

// Where nobody can park

for (const call of blockingCalls) {
  limitTest(call, 'is refused in the hub, and changes nothing', (t, situation) => {
    t.throws(
      inHub(() => situation.call()),
      { instanceOf: BlockingSwitchOutError },
    );
  });

  if (call.where === 'greenlets' || limitingsOf(call).length === 0) continue;

  limitTest(call, 'works in the hub if it is not to wait', (t, situation) => {
    const limiting = { limits: { timeout: 0 } };
    assertShows(
      t,
      call,
      limiting,
      inHub(() => situation.call(limiting.limits)),
    );
  });
}
