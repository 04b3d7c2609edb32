/**
 * Tells everybody how many bytes their datagrams have. Ends after as many as it is told.
 *
 *     node examples/udp-echo-server.mts 127.0.0.1:9000 &
 *     node examples/udp-echo-client.mts 127.0.0.1:9000 how are you
 */
import { run } from 'greenstack';
import { DatagramServer } from 'greenstack/server';

const [address = '127.0.0.1:9000', most = 'Infinity'] = process.argv.slice(2);
let left = Number(most);

const server = new DatagramServer(address, (data, from) => {
  console.log(`${data.toString()} (${data.length} bytes)`);
  if (from !== undefined) server.sendTo(`received ${data.length} bytes`, from);
  if (--left <= 0) server.close();
});

await run(() => {
  server.start();
  console.log(`listening at ${server.host}:${server.port}`);
  server.serveForever();
});
