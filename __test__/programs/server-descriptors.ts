/** A server in a process that has few descriptors: prints how many were served, how often it accepted, and how many reports came. */
import { closeSync, openSync } from 'node:fs';
import { once } from 'node:events';
import { connect } from 'node:net';
import { execFileSync, spawn as spawnProcess } from 'node:child_process';
import { getHub, run, sleep, waitFor } from 'greenstack';
import { StreamServer } from 'greenstack/server';
import type { Socket } from 'greenstack/socket';

const CLIENTS = 40;

/** In a process of its own, which has descriptors enough. */
async function beClients(port: number): Promise<void> {
  const answers = Array.from({ length: CLIENTS }, async () => {
    const socket = connect(port, '127.0.0.1');
    socket.end('hello');
    const [data] = (await once(socket, 'data')) as [Buffer];
    return data.toString();
  });
  const all = await Promise.all(answers);
  process.exit(all.every((answer) => answer === 'hello') ? 0 : 1);
}

class Counting extends StreamServer {
  attempts = 0;

  protected override doRead(): Socket | null {
    this.attempts++;
    return super.doRead();
  }
}

function serveWithFew(): void {
  let reported = 0;
  getHub().handleError = (_context, error) => {
    if ((error as NodeJS.ErrnoException).code === 'EMFILE') reported++;
    else console.error(error);
  };
  let served = 0;
  const server = new Counting(
    '127.0.0.1:0',
    (socket) => {
      socket.sendAll(socket.recv());
      served++;
    },
    { minDelay: 5 },
  );
  server.start();
  const clients = spawnProcess(process.execPath, [__filename, String(server.port)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const end = once(clients, 'exit');
  // What is left of 256 is used up.
  execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=256:256']);
  const used: number[] = [];
  try {
    for (;;) used.push(openSync('/dev/null', 'r'));
  } catch {
    // All of them.
  }
  while (reported === 0) sleep(1);
  const before = server.attempts;
  sleep(300);
  const whileFull = server.attempts - before;
  for (const descriptor of used) closeSync(descriptor);
  const [code] = waitFor(end) as [number];
  server.stop();
  console.log(served, whileFull, reported);
  process.exitCode = code;
}

const [port] = process.argv.slice(2);
if (port === undefined) void run(serveWithFew);
else void beClients(Number(port));
