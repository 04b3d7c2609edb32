/**
 * A room for everybody who connects: what one says all others hear. Each client has a greenlet that reads, and one that writes
 * what is in the client's queue, so that whoever reads slowly holds nobody up.
 *
 *     node examples/chat-server.mts 127.0.0.1:7001 &
 *     nc 127.0.0.1 7001
 */
import { run, spawn } from 'greenstack';
import { Queue } from 'greenstack/queue';
import { StreamServer } from 'greenstack/server';
import type { Socket } from 'greenstack/socket';

const [address = '127.0.0.1:7001'] = process.argv.slice(2);
const room = new Map<string, Queue<string>>();

function tellAll(text: string, except = ''): void {
  for (const [name, queue] of room) if (name !== except && !queue.full) queue.putNowait(`${text}\n`);
}

function* lines(socket: Socket): Generator<string> {
  let text = '';
  for (let data = socket.recv(); data.length > 0; data = socket.recv()) {
    const pieces = (text + data.toString()).split('\n');
    text = pieces.pop() ?? '';
    for (const piece of pieces) yield piece.trim();
  }
}

function chat(socket: Socket): void {
  socket.sendAll('your name?\n');
  const input = lines(socket);
  const name: string = input.next().value ?? '';
  if (name === '' || room.has(name)) return socket.sendAll('not this one\n');
  const queue = new Queue<string>(100);
  room.set(name, queue);
  const writing = spawn(() => {
    for (;;) socket.sendAll(queue.get());
  });
  try {
    tellAll(`${name} has come; here are ${[...room.keys()].join(', ')}`);
    for (const line of input) tellAll(`${name}: ${line}`, name);
  } finally {
    writing.kill();
    room.delete(name);
    tellAll(`${name} has left`);
  }
}

const server = new StreamServer(address, chat);
await run(() => {
  server.start();
  console.log(`listening at ${server.host}:${server.port}`);
  server.serveForever();
});
