/** `sleep` and `idle`: giving others their time. */
import { getHub, park, plainWait, requireGreenlet, wake, yieldNow } from './hub.js';
import { checkFlag, checkMilliseconds, checkOptions } from './checks.js';
import { checkLimits, withinLimits } from './limits.js';

/** Options of {@link sleep}. */
export interface SleepOptions {
  /** `false`: does not keep the process alive. */
  ref?: boolean;
  /** Aborting it throws its reason. */
  signal?: AbortSignal;
}

const sleeping = plainWait('sleep');

/**
 * Waits for at least `ms`. 0 (the default) or less lets everybody else who is ready run once. Switches. gevent: `gevent.sleep`.
 *
 * @throws {TypeError} if `ms` is not a number
 * @throws {BlockingSwitchOutError} outside greenlets
 */
export function sleep(ms = 0, options?: SleepOptions): void {
  const duration = checkMilliseconds('sleep()', ms);
  if (options === undefined || options === null) {
    if (duration === 0) yieldNow('sleep()');
    else park('sleep()', sleeping, duration === Infinity ? -1 : duration);
    return;
  }
  const { ref = true, signal } = checkOptions('sleep()', options);
  checkFlag('sleep()', 'ref', ref);
  const limits = checkLimits('sleep()', { signal });
  withinLimits('sleep()', limits, () => {
    if (duration === 0) yieldNow('sleep()');
    else park('sleep()', sleeping, duration === Infinity ? -1 : duration, ref);
  });
}

/**
 * Waits until nobody else is ready: all other greenlets are parked or have ended, and Node's own callbacks have had their
 * turn. Switches. gevent: `gevent.idle`.
 */
export function idle(): void {
  const greenlet = requireGreenlet('idle()');
  do {
    let immediate: NodeJS.Immediate | undefined;
    const wait = plainWait('idle()');
    wait.cancel = () => clearImmediate(immediate);
    immediate = setImmediate(() => wake(greenlet, wait));
    park('idle()', wait);
  } while (getHub().stats().ready > 0);
}
