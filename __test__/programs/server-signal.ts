/** A server with three clients when a signal comes: one handler finishes in time, one never does. */
import { run, sleep, spawn } from 'greenstack';
import { HttpServer } from 'greenstack/http';
import { StreamServer } from 'greenstack/server';
import { createConnection } from 'greenstack/socket';

const withRun = process.argv[2] === 'run';

const speaksHttp = process.argv[3] === 'http';

function handle(wish: string): void {
  try {
    if (wish === 'finish') {
      while (server.started) sleep(1);
      try {
        createConnection({ host: '127.0.0.1', port: server.port }).close();
      } catch (error) {
        console.log(`refused: ${(error as NodeJS.ErrnoException).code}`);
      }
      sleep(20);
      console.log('finished');
    } else {
      sleep(3_600_000);
    }
  } catch (error) {
    console.log('killed');
    throw error;
  }
}

const options = { stopTimeout: 1000, shutdownOnSignal: !withRun };
const server = speaksHttp
  ? new HttpServer(
      '127.0.0.1:0',
      ({ path }) => {
        handle(path.slice(1));
        return 'done';
      },
      options,
    )
  : new StreamServer('127.0.0.1:0', (socket) => handle(socket.recv().toString()), options);

function beClients(): void {
  for (const wish of ['finish', 'never'])
    createConnection({ host: '127.0.0.1', port: server.port }).sendAll(
      speaksHttp ? `GET /${wish} HTTP/1.1\r\nHost: a\r\n\r\n` : wish,
    );
  while (server.activeCount < 2) sleep(1);
  console.log('ready');
}

server.start();
if (withRun)
  void run(() => {
    beClients();
    server.serveForever();
  });
else spawn(beClients);
