import { getHub } from 'greenstack';

/** What the hub holds on behalf of greenlets: all of it goes away with them. Idle runners and their stacks may stay. */
export interface Residue {
  greenlets: number;
  parked: number;
  timers: number;
  ready: number;
  sockets: number;
  lookups: number;
  busyRunners: number;
}

/** Counts what greenlets hold at this moment. Never switches. */
export function residue(): Residue {
  const { greenlets, parked, timers, ready, sockets, lookups, runners, idleRunners } = getHub().stats();
  return { greenlets, parked, timers, ready, sockets, lookups, busyRunners: runners - idleRunners };
}

/** Lets links and cancelled waits of this turn finish: a few turns of the event loop, from plain code. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
