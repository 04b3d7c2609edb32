/** Ten thousand connections, some hundreds at a time, of which some end by a reset, and some before a byte was sent. */
import { readdirSync } from 'node:fs';
import { getHub, run, sleep } from 'greenstack';
import { Pool } from 'greenstack/pool';
import { StreamServer } from 'greenstack/server';
import { createConnection } from 'greenstack/socket';

const CONNECTIONS = 10_000;
const descriptors = (): number => readdirSync('/proc/self/fd').length;

void run(() => {
  getHub().handleError = (_context, error) => {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') console.error(error);
  };
  const before = descriptors();
  let served = 0;
  const servers = [false, true].map((awaitData) => {
    const server = new StreamServer(
      '0.0.0.0:0',
      (socket) => {
        served++;
        for (let data = socket.recv(); data.length > 0; data = socket.recv()) socket.sendAll(data);
      },
      { awaitData },
    );
    server.start();
    return server;
  });
  const clients = new Pool(300);
  for (let number = 0; number < CONNECTIONS; number++) {
    clients.spawn(() => {
      // Several addresses of this host, so that ports do not run out.
      const { port } = servers[number % 2]!;
      using socket = createConnection({ host: `127.0.0.${1 + (number % 8)}`, port: port });
      if (number % 10 === 0) return;
      socket.sendAll(`message ${number}`);
      if (number % 10 === 1) return;
      if (socket.recv().toString() !== `message ${number}`) console.error('a wrong answer');
    });
  }
  clients.join();
  while (served < CONNECTIONS || servers.some((server) => server.activeCount > 0)) sleep(1);
  for (const server of servers) server.stop();
  const handlers = servers.reduce((sum, server) => sum + server.activeCount + server.idleCount, 0);
  const left = descriptors() - before;
  console.log(
    `served ${served}, left ${getHub().stats().sockets} sockets ${handlers} handlers ${left} descriptors`,
  );
});
