import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { waitFor } from 'greenstack';
import { nameDelay, pageDelay } from './delay.mts';
import type { Addresses } from './servers.mts';

/** The embedded servers, seen from the tour. */
export class EmbeddedServers {
  readonly addresses: Addresses;
  readonly #process: ChildProcess;

  /** Starts them and waits until they listen. Switches. */
  constructor() {
    this.#process = fork(fileURLToPath(new URL('servers.mjs', import.meta.url)), { execArgv: [] });
    try {
      [this.addresses] = waitFor((signal) => once(this.#process, 'message', { signal }), 10_000);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** So many pages, each on a host of its own: every greenlet has a name to look up that nobody asked for before. */
  urls(count: number): URL[] {
    const { origin } = this.addresses;
    return Array.from(
      { length: count },
      (_, index) => new URL(`http://page-${index + 1}.greenstack.test:${origin}/`),
    );
  }

  /** The least time that a page of theirs takes, in ms: first the name server is waited for, then the origin. */
  delayOf({ hostname }: URL): number {
    return nameDelay(hostname) + pageDelay(hostname);
  }

  /** Stops them. Never switches. */
  close(): void {
    if (this.#process.connected) this.#process.disconnect();
  }
}
