/** What arrives and nobody waits for must not keep the loop busy. Prints the CPU time used while everybody sleeps, in ms. */
import { createServer, type AddressInfo } from 'node:net';
import { run, sleep, waitFor } from 'greenstack';
import { createConnection } from 'greenstack/socket';

void run(() => {
  const server = createServer((socket) => socket.write('unread'));
  waitFor(new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve)));
  const socket = createConnection({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  sleep(50);
  const before = process.cpuUsage();
  sleep(500);
  const { user, system } = process.cpuUsage(before);
  console.log(Math.round((user + system) / 1000));
  socket.close();
  server.close();
});
