/**
 * Looks up 1,000 names, ten at a time, and gives up on what is left after two seconds.
 *
 *     node examples/dns-mass-resolve.mts [DOMAIN [NAMESERVER]]      (by default: com, and the system's nameservers)
 */
import { GreenletExit, Timeout, joinAll, killAll, run, spawn } from 'greenstack';
import { Resolver } from 'greenstack/dns';

const [domain = 'com', nameserver] = process.argv.slice(2);
const names = Array.from({ length: 1000 }, (_, index) => `${index + 10}.${domain}`);
const resolver = new Resolver(nameserver === undefined ? {} : { nameservers: [nameserver] });
let finished = 0;

function resolve(name: string): void {
  try {
    console.log(`${name} = ${resolver.lookup(name).address}`);
  } catch (error) {
    if (GreenletExit.is(error)) throw error; // not a failure of the lookup: somebody wants this greenlet to end
    console.log(`${name} failed: ${(error as Error).message}`);
  }
  finished++;
}

await run(() => {
  // Ten greenlets share one iterator, so there are never more than ten lookups at once.
  const remaining = names.values();
  const work = () => {
    for (const name of remaining) resolve(name);
  };
  const workers = Array.from({ length: 10 }, () => spawn(work));

  // `false`: when the time is up, what is inside ends quietly.
  new Timeout(2000, false).run(() => joinAll(workers));
  killAll(workers);
  resolver.close();
  console.log(`finished within 2 seconds: ${finished} of ${names.length}`);
});
