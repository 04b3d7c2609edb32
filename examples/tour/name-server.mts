import { type Socket, createSocket } from 'node:dgram';
import { once } from 'node:events';
import { nameDelay } from './delay.mts';

/** Names in this zone exist, all of them at 127.0.0.1. `.test` never exists on the Internet (RFC 6761). */
const ZONE = '.greenstack.test';

const HEADER_LENGTH = 12;
const TYPE_A = 1;
const CLASS_IN = 1;
const REFUSED = 5;

interface Question {
  name: string;
  type: number;
  class: number;
  /** Where the question ends in its message. */
  end: number;
}

/** Starts a DNS server on a free port of 127.0.0.1 (UDP, RFC 1035) and returns its address as `ip:port`. */
export async function startNameServer(): Promise<string> {
  // A thousand greenlets ask at the same moment; with the usual buffer the system would drop some questions.
  const server = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
  server.on('message', (query, client) => {
    const question = readQuestion(query);
    if (!question) return; // as any name server does with what is no question
    setTimeout(
      () => server.send(answerTo(query, question), client.port, client.address),
      nameDelay(question.name),
    );
  });
  server.bind(0, '127.0.0.1');
  await once(server, 'listening');
  return addressOf(server);
}

function readQuestion(query: Buffer): Question | undefined {
  const labels: string[] = [];
  let offset = HEADER_LENGTH;
  while (offset < query.length && query[offset] !== 0) {
    const end = offset + 1 + query[offset];
    labels.push(query.toString('latin1', offset + 1, end));
    offset = end;
  }
  const end = offset + 5; // the root label, two bytes of type, two of class
  if (end > query.length || query.readUInt16BE(4) !== 1) return undefined;
  return {
    name: labels.join('.'),
    type: query.readUInt16BE(end - 4),
    class: query.readUInt16BE(end - 2),
    end,
  };
}

/** The question again, and 127.0.0.1 if it asks for the IPv4 address of a name in the zone. */
function answerTo(query: Buffer, question: Question): Buffer {
  const known = question.name.toLowerCase().endsWith(ZONE);
  const found = known && question.type === TYPE_A && question.class === CLASS_IN;

  const message = Buffer.from(query.subarray(0, question.end));
  const recursionDesired = message.readUInt16BE(2) & 0x0100;
  message.writeUInt16BE(0x8400 | recursionDesired | (known ? 0 : REFUSED), 2); // an authoritative response
  message.writeUInt16BE(found ? 1 : 0, 6); // answers
  message.writeUInt16BE(0, 8); // authorities
  message.writeUInt16BE(0, 10); // additional records
  if (!found) return message;

  const record = Buffer.alloc(16);
  record.writeUInt16BE(0xc000 | HEADER_LENGTH, 0); // the name: the one in the question
  record.writeUInt16BE(TYPE_A, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt32BE(60, 6); // seconds it may be kept
  record.writeUInt16BE(4, 10); // bytes of the address
  record.set([127, 0, 0, 1], 12);
  return Buffer.concat([message, record]);
}

function addressOf(server: Socket): string {
  const { address, port } = server.address();
  return `${address}:${port}`;
}
