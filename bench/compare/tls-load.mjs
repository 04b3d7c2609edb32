/**
 * The clients of the TLS measurements, in a process of their own: `node tls-load.mjs PORT WHAT COUNT`.
 *
 * `full` and `resumed`: so many connections, eight at a time, each closed after its handshake. `echo`: so many messages of 64
 * bytes over fifty connections, each sent when the one before has come back. `send` and `receive`: so many pieces of 64 KiB
 * over one connection.
 */
import { once } from 'node:events';
import { connect, createSecureContext } from 'node:tls';

const [port, what, count] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4])];
const secureContext = createSecureContext({ minVersion: 'TLSv1.3' });
/** @type {Buffer | undefined} */
let session;

/** @returns {Promise<import('node:tls').TLSSocket>} */
async function connection() {
  const options = what === 'resumed' ? { session } : {};
  const socket = connect({ host: '127.0.0.1', port, secureContext, rejectUnauthorized: false, ...options });
  socket.setNoDelay();
  await once(socket, 'secureConnect');
  return socket;
}

let left = count;

async function shakeHands() {
  while (left-- > 0) {
    const socket = await connection();
    const closed = once(socket, 'close');
    if (what === 'resumed' && session === undefined) [session] = await once(socket, 'session');
    socket.resume().end();
    await closed;
  }
}

async function exchange() {
  const socket = await connection();
  const message = Buffer.alloc(64, 'x');
  /** @type {Promise<void>} */
  const done = new Promise((resolve) => {
    let received = 0;
    const next = () => (left-- > 0 ? void socket.write(message) : resolve());
    socket.on('data', (data) => {
      received += data.length;
      if (received < message.length) return;
      received = 0;
      next();
    });
    next();
  });
  await done;
  socket.end();
}

async function send() {
  const socket = await connection();
  const piece = Buffer.alloc(65_536, 'x');
  while (left-- > 0) if (!socket.write(piece)) await once(socket, 'drain');
  socket.resume().end();
}

async function receive() {
  const socket = await connection();
  socket.resume();
  await once(socket, 'end');
}

const clients = { full: shakeHands, resumed: shakeHands, echo: exchange, send, receive };
const parallel = { full: 8, resumed: 8, echo: 50, send: 1, receive: 1 };
const kind = /** @type {keyof typeof clients} */ (what);
if (kind === 'resumed') {
  left = 1;
  await shakeHands();
  left = count - 1;
}
await Promise.all(Array.from({ length: parallel[kind] }, clients[kind]));
