/**
 * The tour: a thousand greenlets look names up, connect, ask and read at once, each in plain synchronous code.
 *
 *     node build/examples/tour/main.mjs [--greenlets N] [URL…]
 *
 * `npm start` sets everything up, checks these arguments and runs it.
 */
import { parseArgs } from 'node:util';
import { getHub, joinAll, run, spawn, version } from 'greenstack';
import { Resolver } from 'greenstack/dns';
import { EmbeddedServers } from './embedded.mts';
import { formatThings } from './format.mts';
import { showProgress } from './progress.mts';
import { fetchPage, readPage } from './read-page.mts';
import { printSummary } from './summary.mts';
import { type Visit, visit } from './visit.mts';

const { values, positionals } = parseArgs({
  options: { greenlets: { type: 'string' } },
  allowPositionals: true,
});

await run(() => {
  const embedded = positionals.length === 0 ? new EmbeddedServers() : undefined;
  const resolver = new Resolver(embedded && { nameservers: [embedded.addresses.nameserver] });
  try {
    const count = Number(values.greenlets ?? (positionals.length || 1000));
    const urls = embedded ? embedded.urls(count) : repeated(positionals, count);
    introduce(urls, embedded);
    visitAtOnce(urls, resolver, embedded);
  } finally {
    resolver.close();
    embedded?.close();
  }
});

/** A greenlet for every page, and one that shows how far they are. Prints the figures; failures set the exit code. */
function visitAtOnce(urls: URL[], resolver: Resolver, embedded: EmbeddedServers | undefined): void {
  const memoryBefore = process.memoryUsage.rss();
  const switchesBefore = getHub().stats().switches;
  const visits: Visit[] = [];

  const start = performance.now();
  const progress = spawn(showProgress, urls.length, () => visits.length);
  joinAll(urls.map((url) => spawn(() => visits.push(visit(url, resolver)))));
  const elapsed = performance.now() - start;

  const switches = getHub().stats().switches - switchesBefore;
  progress.join();
  printSummary(visits, { elapsed, switches, memoryBefore, delayOf: embedded?.delayOf });
  if (visits.some(({ error }) => error)) process.exitCode = 1;
}

function introduce(urls: URL[], embedded: EmbeddedServers | undefined): void {
  console.log(`greenstack ${version} on Node ${process.version}, ${process.platform}-${process.arch}\n`);
  console.log(`${formatThings(urls.length, 'greenlet')}, all at once, in plain synchronous code:\n`);

  const uses = (protocol: string) => urls.some((url) => url.protocol === protocol);
  if (uses('http:')) console.log(`${indented(readPage)}\n`);
  if (uses('https:')) {
    console.log("For https (greenstack's own sockets do not speak TLS yet) Node's fetch, waited for:\n");
    console.log(`${indented(fetchPage)}\n`);
  }
  if (!embedded) return;
  const { nameserver, origin } = embedded.addresses;
  console.log(`The DNS server (${nameserver}) and the HTTP server (127.0.0.1:${origin}) are embedded, in a`);
  console.log(
    'process of their own. They take 10 to 30 and 50 to 150 ms to answer, so there is something to wait for.\n',
  );
}

/** A function's own text: what is shown is what runs. */
function indented(code: (...parameters: never[]) => unknown): string {
  return code.toString().replace(/^/gm, '    ');
}

/** `count` URLs, taking the given ones in turn. */
function repeated(urls: string[], count: number): URL[] {
  return Array.from({ length: count }, (_, index) => new URL(urls[index % urls.length]));
}
