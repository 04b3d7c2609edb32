/** A little of everything at once, each with a fresh async context: prints how often something was wrong. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { createServer } from 'node:net';
import { gzip, gunzip } from 'node:zlib';
import { promisify } from 'node:util';
import { Timeout, joinAll, run, sleep, spawn, waitFor } from 'greenstack';
import { createConnection } from 'greenstack/socket';

const storage = new AsyncLocalStorage<object>();
let wrong = 0;

function expect(holds: boolean): void {
  if (!holds) wrong++;
}

const tasks: ((id: number, port: number) => void)[] = [
  (id) => {
    const sorted = [3, 1, 2].sort((a, b) => (sleep(0), a - b));
    expect(sorted.join() === '1,2,3' && id >= 0);
  },
  (id) => {
    const zipped = waitFor(promisify(gzip)(`text ${id}`));
    expect(waitFor(promisify(gunzip)(zipped)).toString() === `text ${id}`);
  },
  () => {
    const overflow = (): number => 1 + overflow();
    try {
      overflow();
      wrong++;
    } catch (error) {
      expect(error instanceof RangeError);
    }
  },
  () => {
    using timeout = Timeout.startNew(1);
    try {
      sleep(1000);
      wrong++;
    } catch (error) {
      expect(error === timeout);
    }
  },
  (id, port) => {
    using socket = createConnection({ host: '127.0.0.1', port });
    socket.sendAll(`message ${id}`);
    socket.shutdown('w');
    let text = '';
    for (let chunk: Buffer; (chunk = socket.recv(5)).length > 0;) text += chunk.toString();
    expect(text === `message ${id}`);
  },
];

function worker(id: number, port: number): void {
  for (let round = 0; round < 5; round++) {
    const context = { id, round };
    storage.run(context, () => {
      tasks[(id + round) % tasks.length]!(id, port);
      expect(storage.getStore() === context);
      sleep(id % 3);
      expect(storage.getStore() === context);
    });
  }
}

const server = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as { port: number };
  void run(() => {
    const greenlets = Array.from({ length: 100 }, (_, id) => spawn(worker, id, port));
    joinAll(greenlets);
    const ended = greenlets.filter((greenlet) => greenlet.successful).length;
    console.log(`wrong: ${wrong}, ended: ${ended}`);
    server.close();
  });
});
