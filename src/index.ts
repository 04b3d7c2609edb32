/** Greenlets for Node: everything that `import … from 'greenstack'` offers, and no logic. */
import { setFlagsFromString } from 'node:v8';

import { allowParkingInJoin } from './array-join.js';
import { config } from './config.js';
import { onFirstGreenlet } from './hub.js';
import { guardJspi } from './jspi.js';
import { guardLimitedScripts } from './vm-limits.js';

// V8 aborts when it collects WebAssembly code while stacks are archived.
setFlagsFromString('--no-wasm-code-gc');
guardJspi();
onFirstGreenlet(allowParkingInJoin);
onFirstGreenlet(guardLimitedScripts);

/** How long greenlets may run, in ms, before Node's own callbacks get their turn. gevent: `getswitchinterval`. */
export function getSwitchInterval(): number {
  return config.switchInterval;
}

/** Sets what {@link getSwitchInterval} returns. */
export function setSwitchInterval(ms: number): void {
  config.switchInterval = ms;
}

export { config, type Config } from './config.js';
export { type Cooperative, cooperative, type CooperativeOptions, uncooperative } from './cooperative.js';
export {
  BlockingSwitchOutError,
  ConcurrentObjectUseError,
  GreenletExit,
  GreenstackError,
  HubDestroyed,
  InvalidSwitchError,
  InvalidThreadUseError,
  KeyboardInterrupt,
  LoopExit,
} from './errors.js';
export { type Emitter, on, once, type OnOptions } from './emitter.js';
export { fork, reinit } from './fork.js';
export {
  getCurrent,
  Greenlet,
  kill,
  type KillError,
  type Link,
  type RawGreenlet,
  spawn,
  spawnLater,
  type SpawnOptions,
  spawnRaw,
} from './greenlet.js';
export { getHub, type Hub, type HubStats, shield } from './hub.js';
export type { LimitOptions, Limits } from './limits.js';
export { run, type RunOptions } from './run.js';
export { signal, type SignalWatcher } from './signal.js';
export { idle, sleep, type SleepOptions } from './sleep.js';
export { TaskGroup, type TaskGroupOptions } from './task-group.js';
export { Timeout, type TimeoutError, withTimeout, type WithTimeoutOptions } from './timeout.js';
export { version } from './version.js';
export {
  type DisposableIterator,
  iwait,
  joinAll,
  type JoinAllOptions,
  killAll,
  type KillAllOptions,
  wait,
  type Waitable,
  type WaitableLike,
  type WaitOptions,
} from './wait.js';
export { asyncify, waitFor } from './wait-for.js';
export { Waiter } from './waiter.js';
