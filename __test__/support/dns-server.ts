import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type Socket, createServer } from 'node:net';
import { waitFor } from 'greenstack';

/** Numbers of RFC 1035 section 3.2.2, and of RFC 3596 for AAAA. */
const types = { A: 1, CNAME: 5, AAAA: 28 } as const;
export type RecordType = keyof typeof types;

/** Response codes of RFC 1035 section 4.1.1. */
const codes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;

export interface Question {
  name: string;
  type: RecordType | undefined;
  transport: 'udp' | 'tcp';
}

export interface Record {
  type: RecordType;
  /** An address, or for CNAME a name. */
  data: string;
  /** Default: the name that was asked for. */
  name?: string;
  /** In seconds; default 0, so that nothing is cached. */
  ttl?: number;
}

export interface Answer {
  code?: keyof typeof codes;
  records?: Record[];
  /** Sets the TC bit, which sends the resolver to TCP. */
  truncated?: boolean;
  /** In milliseconds. */
  delay?: number;
}

/** What to answer; `undefined` is no answer at all. */
export type Script = (question: Question) => Answer | undefined;

export interface Nameserver extends Disposable {
  /** `ip:port`. */
  readonly address: string;
  /** Every question so far, in order. */
  readonly questions: Question[];
}

/** Starts a nameserver on 127.0.0.1, UDP and TCP on one port, that answers as `script` says. Switches. */
export function nameserver(script: Script): Nameserver {
  const questions: Question[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const connections = new Set<Socket>();

  function answer(query: Buffer, transport: 'udp' | 'tcp', reply: (response: Buffer) => void): void {
    const question = parse(query, transport);
    questions.push(question);
    const scripted = script(question);
    if (scripted === undefined) return;
    const timer = setTimeout(() => {
      timers.delete(timer);
      reply(response(query, question, scripted));
    }, scripted.delay ?? 0);
    timers.add(timer);
  }

  const udp = createSocket('udp4');
  udp.on('message', (query, peer) =>
    answer(query, 'udp', (bytes) => udp.send(bytes, peer.port, peer.address)),
  );
  const tcp = createServer((socket) => {
    connections.add(socket);
    socket.on('error', () => {});
    let received = Buffer.alloc(0);
    socket.on('data', (bytes) => {
      received = Buffer.concat([received, bytes]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE()) {
        const query = received.subarray(2, 2 + received.readUInt16BE());
        received = received.subarray(2 + query.length);
        answer(query, 'tcp', (response) => socket.write(Buffer.concat([uint16(response.length), response])));
      }
    });
  });

  tcp.listen(0, '127.0.0.1');
  waitFor(once(tcp, 'listening'));
  const { port } = tcp.address() as { port: number };
  udp.bind(port, '127.0.0.1');
  waitFor(once(udp, 'listening'));

  return {
    address: `127.0.0.1:${port}`,
    questions,
    [Symbol.dispose]() {
      for (const timer of timers) clearTimeout(timer);
      for (const socket of connections) socket.destroy();
      waitFor(new Promise<void>((resolve) => udp.close(() => tcp.close(() => resolve()))));
    },
  };
}

/** A script from a table of names; what is not in it does not exist. */
export function zone(table: { [name: string]: Record[] }): Script {
  return ({ name, type }) => {
    const records = table[name.toLowerCase()];
    if (records === undefined) return { code: 'NXDOMAIN' };
    return {
      records: records.filter((record) => record.type === type || record.type === 'CNAME' || record.name),
    };
  };
}

function parse(query: Buffer, transport: 'udp' | 'tcp'): Question {
  const labels: string[] = [];
  let offset = 12;
  for (let length; (length = query[offset]!) > 0; offset += 1 + length) {
    labels.push(query.toString('latin1', offset + 1, offset + 1 + length));
  }
  const number = query.readUInt16BE(offset + 1);
  const type = (Object.keys(types) as RecordType[]).find((name) => types[name] === number);
  return { name: labels.join('.'), type, transport };
}

function response(query: Buffer, question: Question, answer: Answer): Buffer {
  const { code = 'NOERROR', records = [], truncated = false } = answer;
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  // QR, AA, RD and RA.
  header.writeUInt16BE(0x8580 | (truncated ? 0x0200 : 0) | codes[code], 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(truncated ? 0 : records.length, 6);
  // Name, type and class, just as they came.
  const asked = query.subarray(12, 12 + encodeName(question.name).length + 4);
  const sections = truncated ? [] : records.map((record) => encodeRecord(question.name, record));
  return Buffer.concat([header, asked, ...sections]);
}

function encodeRecord(asked: string, { type, data, name = asked, ttl = 0 }: Record): Buffer {
  const bytes = { A: ipv4, AAAA: ipv6, CNAME: encodeName }[type](data);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(types[type], 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(bytes.length, 8);
  return Buffer.concat([encodeName(name), fixed, bytes]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label, 'latin1')]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function ipv4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function ipv6(address: string): Buffer {
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':').map((group) => parseInt(group, 16)));
  const zeros = Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => 0);
  const all = [...groups(head), ...zeros, ...groups(tail)];
  return Buffer.concat(all.map(uint16));
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}
