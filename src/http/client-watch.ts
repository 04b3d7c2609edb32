/** Telling whoever answers a request that its client has gone. */
import { native } from '../binding.js';
import { abandonSlot, type Expirable, freeSlot, takeSlot } from '../timers.js';
import type { HttpRequest } from './request.js';

/** Calls back, in the hub, when the client of a request has gone. Must be stopped before somebody reads or responds. */
export class ClientWatch implements Expirable {
  #slot = -1;

  /** @param onGone - must not block */
  constructor(
    private readonly request: HttpRequest,
    private readonly onGone: () => void,
  ) {}

  /** Begins to watch, or goes on; nothing happens if somebody reads. */
  start(): void {
    if (this.#slot >= 0 || this.request._key === 0) return;
    const slot = takeSlot(this);
    const state = native.httpWatch(this.request._key, slot);
    if (state === 0) this.#slot = slot;
    else freeSlot(slot);
    if (state > 0) this.onGone();
  }

  stop(): void {
    const slot = this.#slot;
    if (slot < 0) return;
    this.#slot = -1;
    if (native.httpUnwatch(this.request._key)) freeSlot(slot);
    else abandonSlot(slot);
  }

  /** Something has come, which may be the end. @internal */
  expire(): void {
    this.#slot = -1;
    this.start();
  }
}
