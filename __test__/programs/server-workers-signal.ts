/** A server in two processes when SIGTERM comes to the primary, while a client is being served. */
import { run, sleep, spawn } from 'greenstack';
import { StreamServer } from 'greenstack/server';
import { createConnection } from 'greenstack/socket';

const isPrimary = process.send === undefined;
let stopping = false;

const server = new StreamServer(
  '127.0.0.1:0',
  (socket) => {
    socket.sendAll('begun');
    while (!stopping) sleep(1);
    sleep(20);
    socket.sendAll('finished');
  },
  { workers: 2, stopTimeout: 60_000, spawn: 10 },
);

void run(() => {
  if (!isPrimary) {
    spawn(() => {
      while (!server.started) sleep(1);
      server.closed.join();
      stopping = true;
    });
    return server.serveForever();
  }
  server.start();
  const socket = createConnection(server.address);
  socket.recv();
  const receiving = spawn(() => console.log(socket.recv().toString()));
  console.log('ready');
  try {
    server.serveForever();
  } finally {
    receiving.join();
    console.log(`workers left: ${server.workerPids.length}`);
  }
});
