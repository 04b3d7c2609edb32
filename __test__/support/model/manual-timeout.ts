import { Timeout } from 'greenstack';

/** A `Timeout` that expires when it is told to. It has to be started by the greenlet that it concerns. */
export class ManualTimeout extends Timeout {
  #hasExpired = false;

  /** @param label - tells it from others */
  constructor(readonly label = 'expired by hand') {
    super(null);
  }

  get hasExpired(): boolean {
    return this.#hasExpired;
  }

  /** Expires; nothing happens if it has. */
  fire(): void {
    if (this.#hasExpired) return;
    this.#hasExpired = true;
    this.onExpiration();
  }
}
