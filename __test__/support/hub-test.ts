import test, { type ExecutionContext } from 'ava';
import { Timeout, run } from 'greenstack';
import { residue, settle } from './residue.js';

/** A test that parks for ever fails after this many milliseconds, so that the others still run. */
const HANG_LIMIT = 60_000;

/**
 * Runs `body` as the main greenlet, and fails if it leaves greenlets, timers, sockets or lookups behind.
 *
 * All tests of a file share one hub, so they run one after another.
 */
export function hubTest(title: string, body: (t: ExecutionContext) => void): void {
  test.serial(title, async (t) => {
    const before = residue();
    await run(() => {
      using _guard = Timeout.startNew(HANG_LIMIT, 'the test hung');
      body(t);
    });
    await settle();
    t.deepEqual(residue(), before, 'the test left something behind');
  });
}

/** `hubTest` where the running Node has what the test needs; elsewhere the test is listed as skipped. */
export function hubTestIf(available: boolean, title: string, body: (t: ExecutionContext) => void): void {
  if (available) hubTest(title, body);
  else test.skip(title, () => {});
}
