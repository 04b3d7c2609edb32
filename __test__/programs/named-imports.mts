import * as dns from 'greenstack/dns';
import * as greenstack from 'greenstack';
import { run, spawn } from 'greenstack';
import * as socket from 'greenstack/socket';

const expected = {
  greenstack: `run spawn spawnLater spawnRaw Greenlet getCurrent getHub sleep idle joinAll killAll kill wait iwait waitFor
    asyncify cooperative uncooperative once on shield signal config Timeout withTimeout setSwitchInterval getSwitchInterval version GreenstackError
    GreenletExit LoopExit BlockingSwitchOutError InvalidSwitchError InvalidThreadUseError ConcurrentObjectUseError
    HubDestroyed KeyboardInterrupt`,
  'greenstack/socket': 'createConnection Socket',
  'greenstack/dns': 'Resolver lookup',
};
const modules: Record<string, object> = { greenstack, 'greenstack/socket': socket, 'greenstack/dns': dns };
const missing = Object.entries(expected).flatMap(([module, names]) =>
  names
    .split(/\s+/)
    .filter((name) => !(name in modules[module]!))
    .map((name) => `${module}: ${name}`),
);
console.log(`missing: ${missing.join() || 'none'}`);
console.log(`ran: ${await run(() => spawn((a: number, b: number) => a * b, 6, 7).get())}`);
