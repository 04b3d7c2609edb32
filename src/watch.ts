/** Waiting for sockets without a stack: a callback in place of a parked greenlet. */
import { native, type Sides } from './binding.js';
import { abandonSlot, type Expirable, freeSlot, takeSlot } from './timers.js';

/** Calls back, in the hub and once for each start, when a side of a socket may be used, or the socket is closed. */
export class Watch implements Expirable {
  #slot = -1;

  /** @param onReady - must not block; its error is reported */
  constructor(
    private readonly key: number,
    private readonly side: Sides,
    private readonly onReady: () => void,
  ) {}

  /** Whether it will call back. */
  get pending(): boolean {
    return this.#slot >= 0;
  }

  /**
   * Begins to watch; also an operation that need not wait now is worth one call. Must not be pending.
   *
   * @param referenced - whether it keeps the process alive
   * @returns 0, or a negative code: `Outcome.Busy` if a greenlet or another watch waits for the side
   */
  start(referenced = true): number {
    const slot = takeSlot(this);
    const result = native.watch(this.key, this.side, slot, referenced);
    if (result < 0) freeSlot(slot);
    else this.#slot = slot;
    return result;
  }

  /** Watches no more; does nothing if it is not pending. */
  stop(): void {
    const slot = this.#slot;
    if (slot < 0) return;
    this.#slot = -1;
    if (native.unwatch(this.key, this.side)) freeSlot(slot);
    else abandonSlot(slot);
  }

  /** @internal */
  expire(): void {
    this.#slot = -1;
    this.onReady();
  }
}
