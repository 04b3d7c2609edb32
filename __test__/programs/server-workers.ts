/** A server in three processes, each of which answers with its number; the primary asks, kills one, pauses and stops them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, sleep } from 'greenstack';
import { HttpServer } from 'greenstack/http';
import { StreamServer } from 'greenstack/server';
import { createConnection, type Socket } from 'greenstack/socket';

const WORKERS = 3;
const byPath = process.argv[2] === 'path';
const isPrimary = process.send === undefined;
const directory = byPath && isPrimary ? mkdtempSync(join(tmpdir(), 'greenstack-')) : '';

const speaksHttp = process.argv[3] === 'http';
const listener = byPath ? { path: join(directory, 'socket') } : '127.0.0.1:0';

const server = speaksHttp
  ? new HttpServer(
      listener,
      () => {
        sleep(1);
        return `${process.pid}`;
      },
      { workers: WORKERS },
    )
  : new StreamServer(
      listener,
      (socket) => {
        socket.sendAll(`${process.pid}`);
        sleep(1);
      },
      { workers: WORKERS },
    );

/** Connects, and lets a server of HTTP answer. */
function connect(): Socket {
  const { address } = server;
  const socket = createConnection(address.family === 'unix' ? { path: address.address } : address);
  if (speaksHttp) socket.sendAll('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
  return socket;
}

function ask(): number {
  using socket = connect();
  return Number(socket.recv(1000, 120_000).toString().split('\r\n').at(-1));
}

/** Whether one more is answered at once. */
function isAnswered(): boolean {
  using socket = connect();
  try {
    socket.recv(1000, 100);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ETIMEDOUT') throw error;
    return false;
  }
}

function askUntil(condition: (answered: Set<number>) => boolean): void {
  const answered = new Set<number>();
  while (!condition(answered)) answered.add(ask());
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function bePrimary(): void {
  server.start();
  askUntil((answered) => answered.size > 1);
  console.log('several workers');
  const [victim] = server.workerPids;
  process.kill(victim!, 'SIGKILL');
  while (server.workerPids.includes(victim!) || server.workerPids.length < WORKERS) sleep(1);
  const [, , newcomer] = server.workerPids;
  askUntil((answered) => answered.has(newcomer!));
  console.log('another one after SIGKILL');
  server.stopAccepting();
  // They answer until they were told.
  while (isAnswered());
  console.log('paused');
  server.startAccepting();
  ask();
  console.log('resumed');
  const pids = server.workerPids;
  server.stop();
  console.log(pids.some(isAlive) ? 'some left' : 'all gone');
  if (directory !== '') rmSync(directory, { recursive: true });
}

void run(isPrimary ? bePrimary : () => server.serveForever());
