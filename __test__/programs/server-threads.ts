/** Worker threads with servers that are busy when they are terminated. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { run } from 'greenstack';
import { StreamServer } from 'greenstack/server';

async function main(): Promise<void> {
  for (let round = 0; round < 10; round++) {
    const worker = new Worker(__filename);
    const [port] = (await once(worker, 'message')) as [number];
    const clients = Array.from({ length: 20 }, () => {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.on('data', (data) => socket.write(data));
      socket.write('x');
      return socket;
    });
    await new Promise((resolve) => setTimeout(resolve, round * 2));
    await worker.terminate();
    await Promise.all(clients.map(closed));
  }
  console.log('all ended');
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
  });
}

function serve(): void {
  const server = new StreamServer(
    '127.0.0.1:0',
    (socket) => {
      for (let data = socket.recv(); data.length > 0; data = socket.recv()) socket.sendAll(data);
    },
    { spawn: 15, awaitData: Math.random() < 0.5 },
  );
  server.start();
  parentPort?.postMessage(server.port);
  server.serveForever();
}

if (isMainThread) void main();
else void run(serve);
