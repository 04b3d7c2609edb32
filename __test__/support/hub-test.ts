import test, { type ExecutionContext } from 'ava';
import { run } from 'greenstack';
import { VirtualClock } from 'greenstack/testing';
import { current } from './greenlets.js';
import { residue, settle } from './residue.js';

/** A test that parks for ever fails after this many milliseconds, so that the others still run. */
const HANG_LIMIT = 180_000;

/**
 * Runs `body` as the main greenlet, and fails if it leaves greenlets, timers, sockets or lookups behind.
 *
 * All tests of a file share one hub, so they run one after another.
 */
export function hubTest(title: string, body: (t: ExecutionContext) => void): void {
  test.serial(title, async (t) => {
    const before = residue();
    await run(() => {
      const main = current();
      // A timer of Node's: the body may have a virtual clock.
      const guard = setTimeout(() => main.kill(new Error('the test hung'), { block: false }), HANG_LIMIT);
      try {
        body(t);
      } finally {
        clearTimeout(guard);
      }
    });
    await settle();
    t.deepEqual(residue(), before, 'the test left something behind');
  });
}

/** `hubTest` under a clock whose time jumps: for what waits, where real time is not the subject. */
export function virtualTest(title: string, body: (t: ExecutionContext, clock: VirtualClock) => void): void {
  hubTest(title, (t) => VirtualClock.run((clock) => body(t, clock)));
}

/** `hubTest` where the running Node has what the test needs; elsewhere the test is listed as skipped. */
export function hubTestIf(available: boolean, title: string, body: (t: ExecutionContext) => void): void {
  if (available) hubTest(title, body);
  else test.skip(title, () => {});
}
