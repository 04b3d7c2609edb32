/** The files that Unix-domain sockets make. */
import { lstatSync, type Stats, unlinkSync } from 'node:fs';
import { resolve } from 'node:path';

/** The file of a socket that has just been bound; abstract names have none. */
export class SocketPath {
  readonly #path: string;
  readonly #made: Stats | undefined;

  constructor(path: string) {
    this.#path = resolve(path);
    this.#made = lookAt(this.#path);
  }

  /** Removes it, unless another one is in its place by now. */
  remove(): void {
    const found = lookAt(this.#path);
    if (found === undefined || found.ino !== this.#made?.ino || found.dev !== this.#made.dev) return;
    try {
      unlinkSync(this.#path);
    } catch {
      // The directory has become read-only, or somebody was faster: closing the socket does not fail by that.
    }
  }
}

function lookAt(path: string): Stats | undefined {
  try {
    return lstatSync(path);
  } catch {
    return undefined;
  }
}
