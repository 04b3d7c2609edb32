/** Waiting until a socket or any other descriptor is ready, without reading or writing. */
import { native, Sides } from '../binding.js';
import { Endpoint } from '../connection.js';
import { checkTarget, type Descriptor, descriptorOf } from '../descriptors.js';
import { plainWait } from '../hub.js';
import { checkLimits, type Limits } from '../limits.js';
import type { SocketAddress } from '../socket-address.js';
import { systemError } from '../system-error.js';

/** A descriptor that is not one of our sockets, by a copy: so it cannot be confused with another one of its number. */
class Copy extends Endpoint {
  readonly #key: number;

  constructor(call: string, descriptor: number) {
    super();
    this.#key = native.watchCopy(descriptor);
    if (this.#key < 0) throw systemError(this.#key, call.slice(0, -2));
  }

  get closed(): boolean {
    return false;
  }

  override get _key(): number {
    return this.#key;
  }

  get remoteAddress(): SocketAddress {
    return { address: '', port: 0, family: 'unix' };
  }
}

/** Which of the sides are ready, waiting for one. */
function waitReady(call: string, target: Descriptor, sides: number, limits: Limits): number {
  checkTarget(call, target);
  if (!(target instanceof Endpoint)) return waitForCopy(call, target, sides, limits);
  const checked = target._limits(call, limits);
  target._checkOpen(call);
  if (target._hasInput() && (sides & Sides.Read) !== 0) return Sides.Read;
  if (target._key < 0) return waitForCopy(call, target, sides, limits ?? target.timeout);
  const wait = sides === Sides.Write ? target._writing() : target._reading();
  return target._call(call, wait, checked, (timeout) => native.waitReady(target._key, sides, timeout));
}

function waitForCopy(call: string, target: Descriptor, sides: number, limits: Limits): number {
  const checked = checkLimits(call, limits);
  const descriptor = descriptorOf(target);
  const copy = new Copy(call, descriptor);
  try {
    const wait = plainWait(`${call} of descriptor ${descriptor}`);
    return copy._call(call, wait, checked, (timeout) => native.waitReady(copy._key, sides, timeout));
  } finally {
    native.close(copy._key);
  }
}

/**
 * Waits until there is something to read, or the end: from a socket, or from any other descriptor, such as that of a pipe or a
 * terminal; ordinary files are always ready. What closes one of our sockets ends the wait; a descriptor that somebody else
 * closes is waited for all the same. Switches only if it must wait. gevent: `wait_read`.
 *
 * @param limits - how long, in ms, and what else may end the wait; without any, a socket's `timeout`
 * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
 * @throws {SystemError} `EBADF` if it is closed; `ECANCELED` if another greenlet closes the socket
 * @throws {ConcurrentObjectUseError} if another greenlet waits for this side of the socket
 */
export function waitRead(target: Descriptor, limits?: Limits): void {
  waitReady('waitRead()', target, Sides.Read, limits);
}

/** As {@link waitRead}, until there is room to write. Switches only if it must wait. gevent: `wait_write`. */
export function waitWrite(target: Descriptor, limits?: Limits): void {
  waitReady('waitWrite()', target, Sides.Write, limits);
}

/**
 * As {@link waitRead}, until there is something to read or room to write. Switches only if it must wait. gevent:
 * `wait_readwrite`.
 *
 * @returns which of the two it is, or that it is both
 */
export function waitReadWrite(target: Descriptor, limits?: Limits): 'r' | 'w' | 'rw' {
  const ready = waitReady('waitReadWrite()', target, Sides.Read | Sides.Write, limits);
  if (ready === Sides.Read) return 'r';
  return ready === Sides.Write ? 'w' : 'rw';
}
