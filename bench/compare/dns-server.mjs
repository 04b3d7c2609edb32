/**
 * A name server that gives every name the address 192.0.2.1, at once, by UDP. A name that begins with `keep` may be kept for
 * an hour, others for no time. Prints its port, ends with its standard input.
 */
import { createSocket } from 'node:dgram';

const server = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });

/** The rest of an answer to a question for an address: the name is that of the question. */
const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1]);

server.on('message', (query, { port, address }) => {
  let end = 12;
  while (query[end] !== 0) end += query[end] + 1;
  const isAddress = query[end + 2] === 1;
  const response = Buffer.concat([query.subarray(0, end + 5), isAddress ? answer : Buffer.alloc(0)]);
  response.writeUInt16BE(0x8180, 2);
  response.writeUInt16BE(isAddress ? 1 : 0, 6);
  response.writeUInt16BE(0, 8);
  response.writeUInt16BE(0, 10);
  if (isAddress && query.toString('latin1', 13, 17) === 'keep') response.writeUInt32BE(3600, end + 11);
  server.send(response, port, address);
});
server.bind(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit());
