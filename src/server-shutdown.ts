/** Servers and the end of the process: those that live are stopped, in good order, when a signal ends it. */
import { isMainThread } from 'node:worker_threads';

import { spawn } from './greenlet.js';
import { getHub } from './hub.js';
import { farewells, signalGuard } from './run.js';
import { joinAll } from './wait.js';

/** A server, as the end of the process sees it. */
export interface Mortal {
  /** Stops it, and waits for what it does, for as long as it allows. @internal */
  _shutDown(): void;
}

/** Servers that are started, or whose handlers have not all ended. */
const living = new Set<Mortal>();

function shutDownAll(): void {
  const ends = [...living].map((server) =>
    spawn(() => {
      try {
        server._shutDown();
      } catch (error) {
        getHub().report(server, error);
      }
    }),
  );
  joinAll(ends);
}

/** A server has been started. `guarded`: a signal ends the process in good order even without a main greenlet. */
export function enlist(server: Mortal, guarded: boolean): void {
  if (!farewells.includes(shutDownAll)) farewells.push(shutDownAll);
  living.add(server);
  // Signals reach the main thread only.
  if (guarded && isMainThread) signalGuard.guardWithoutMain(server);
}

/** A server is closed, and its handlers have ended. */
export function strikeOff(server: Mortal): void {
  if (living.delete(server)) signalGuard.releaseWithoutMain(server);
}
