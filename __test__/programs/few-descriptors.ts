/** Uses all descriptors up, sees what fails and how, and goes on when some are free again. To be run with few of them. */
import { closeSync, openSync } from 'node:fs';
import { joinAll, run, sleep, spawn } from 'greenstack';
import { createConnection, createServer, type Socket, socketPair } from 'greenstack/socket';

type SystemError = NodeJS.ErrnoException;

function failure(fn: () => unknown): string {
  try {
    fn();
    return 'nothing';
  } catch (error) {
    const { code, syscall } = error as SystemError;
    return `${syscall} ${code}`;
  }
}

const spare: number[] = [];

/** How a call fails while there are no descriptors. Node's own threads may give one back at any time. */
function failureWithout(fn: () => unknown): string {
  for (;;) {
    failure(() => {
      for (;;) spare.push(openSync('/dev/null', 'r'));
    });
    const failed = failure(fn);
    if (failed !== 'nothing') return failed;
  }
}

run(() => {
  const server = createServer({ host: '127.0.0.1', port: 0 });
  const address = server.localAddress;
  const clients: Socket[] = [];
  const exhausted = failure(() => {
    for (;;) clients.push(createConnection(address));
  });
  console.log(`connecting: ${exhausted}`);
  console.log(`pairs: ${failureWithout(() => socketPair())}`);
  console.log(`accepting: ${failureWithout(() => server.accept())}`);
  console.log(`and again: ${failureWithout(() => server.accept())}`);
  for (const descriptor of spare) closeSync(descriptor);
  // What waits to be accepted is not lost by that.
  const halves = clients.splice(0, clients.length >> 1);
  for (const client of halves) client.close();
  const accepted = Array.from({ length: halves.length }, () => server.accept(5000));
  console.log(`accepted: ${accepted.length === halves.length && halves.length > 5}`);
  for (const socket of [...accepted, ...clients]) socket.close();
  const echo = spawn(() => {
    for (;;) {
      const peer = server.accept();
      spawn(() => {
        for (let chunk: Buffer; (chunk = peer.recv()).length > 0;) peer.sendAll(chunk);
        peer.close();
      });
    }
  });
  // Those that were closed before they were accepted.
  sleep(10);
  const answers = Array.from({ length: 5 }, (_, index) =>
    spawn(() => {
      using socket = createConnection(address);
      socket.sendAll(String(index));
      return socket.recv().toString() === String(index);
    }),
  );
  joinAll(answers);
  echo.kill();
  server.close();
  console.log(`served again: ${answers.every(({ value }) => value === true)}`);
}).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
