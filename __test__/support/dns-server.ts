import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type Socket, createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { waitFor } from 'greenstack';

/** Numbers of RFC 1035 section 3.2.2 and of the documents that have added to it. */
const types = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  NAPTR: 35,
  CAA: 257,
} as const;
export type RecordType = keyof typeof types;

/** Response codes of RFC 1035 section 4.1.1. */
const codes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

export interface Question {
  name: string;
  type: RecordType | undefined;
  transport: 'udp' | 'tcp';
  /** Whether it was asked with an OPT record (RFC 6891). */
  edns: boolean;
}

export interface Record {
  type: RecordType;
  /** An address, a name; or the fields in the order of the wire: numbers of 16 bits (SOA: 32; CAA flags: 8), names and texts. */
  data: string | Array<string | number>;
  /** Default: the name that was asked for. */
  name?: string;
  /** In seconds; default 0, so that nothing is cached. */
  ttl?: number;
}

export interface Answer {
  code?: keyof typeof codes;
  records?: Record[];
  /** The authority section: where negative answers have the SOA record that tells how long they hold. */
  authority?: Record[];
  /** Sets the TC bit, which sends the resolver to TCP. */
  truncated?: boolean;
  /** In milliseconds. */
  delay?: number;
  /** Is sent when the test says so: {@link Nameserver.release}. */
  held?: boolean;
  /** What to send instead of the proper response: any packets, none, or nonsense. */
  packets?: (response: Buffer, query: Buffer) => Buffer[];
  /** Closes the TCP connection after this many bytes of the response. */
  closeAfter?: number;
}

/** What to answer; `undefined` is no answer at all. */
export type Script = (question: Question) => Answer | undefined;

export interface Nameserver extends Disposable {
  /** `ip:port`, of TLS `tls://ip:port`. */
  readonly address: string;
  readonly port: number;
  /** Every question so far, in order. */
  readonly questions: Question[];
  /** How many TCP connections there were. */
  readonly connections: number;
  /** Sends the answers that are held back. */
  release(): void;
  /** Ends all TCP connections. */
  disconnect(): void;
}

export interface NameserverOptions {
  /** Default: 127.0.0.1. */
  host?: string;
  /** Speaks TLS only. */
  tls?: { key: string; cert: string };
}

/** Starts a nameserver, UDP and TCP on one port, that answers as `script` says. Switches. */
export function nameserver(script: Script, options: NameserverOptions = {}): Nameserver {
  const { host = '127.0.0.1', tls } = options;
  const questions: Question[] = [];
  const timers = new Set<NodeJS.Timeout>();
  const held: Array<() => void> = [];
  const open = new Set<Socket>();
  let connections = 0;

  function answer(
    query: Buffer,
    transport: 'udp' | 'tcp',
    reply: (packet: Buffer, answer: Answer) => void,
  ): void {
    const question = parse(query, transport);
    questions.push(question);
    const scripted = script(question);
    if (scripted === undefined) return;
    const send = (): void => {
      const proper = response(query, question, scripted);
      for (const packet of scripted.packets?.(proper, query) ?? [proper]) reply(packet, scripted);
    };
    if (scripted.held === true) return void held.push(send);
    const timer = setTimeout(() => {
      timers.delete(timer);
      send();
    }, scripted.delay ?? 0);
    timers.add(timer);
  }

  function serve(socket: Socket): void {
    connections++;
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => {});
    let received = Buffer.alloc(0);
    socket.on('data', (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE()) {
        const query = received.subarray(2, 2 + received.readUInt16BE());
        received = received.subarray(2 + query.length);
        answer(query, 'tcp', (packet, { closeAfter }) => {
          const framed = Buffer.concat([uint16(packet.length), packet]);
          if (closeAfter === undefined) socket.write(framed);
          else socket.end(framed.subarray(0, closeAfter));
        });
      }
    });
  }

  const tcp = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  let udp = createSocket('udp4');
  let port = 0;
  for (let bound = false; !bound;) {
    tcp.listen(0, host);
    waitFor(once(tcp, 'listening'));
    ({ port } = tcp.address() as { port: number });
    if (tls !== undefined) break;
    udp.close();
    udp = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
    udp.bind(port, host);
    try {
      waitFor(once(udp, 'listening'));
      bound = true;
    } catch {
      // The port is free for TCP only: somebody asks from it by UDP.
      waitFor(new Promise((resolve) => tcp.close(resolve)));
    }
  }
  udp.on('message', (query, peer) =>
    answer(query, 'udp', (packet) => udp.send(packet, peer.port, peer.address)),
  );

  return {
    address: `${tls === undefined ? '' : 'tls://'}${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    questions,
    get connections() {
      return connections;
    },
    release() {
      for (const send of held.splice(0)) send();
    },
    disconnect() {
      for (const socket of open) socket.destroy();
    },
    [Symbol.dispose]() {
      for (const timer of timers) clearTimeout(timer);
      for (const socket of open) socket.destroy();
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
  return { name: labels.join('.'), type, transport, edns: query.readUInt16BE(10) > 0 };
}

function response(query: Buffer, question: Question, answer: Answer): Buffer {
  const { code = 'NOERROR', records = [], authority = [], truncated = false } = answer;
  const header = Buffer.alloc(12);
  query.copy(header, 0, 0, 2);
  // QR, AA, RD and RA.
  header.writeUInt16BE(0x8580 | (truncated ? 0x0200 : 0) | codes[code], 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(truncated ? 0 : records.length, 6);
  header.writeUInt16BE(authority.length, 8);
  // Name, type and class, just as they came.
  const asked = query.subarray(12, 12 + encodeName(question.name).length + 4);
  const sections = [...(truncated ? [] : records), ...authority];
  return Buffer.concat([header, asked, ...sections.map((record) => encodeRecord(question.name, record))]);
}

function encodeRecord(asked: string, { type, data, name = asked, ttl = 0 }: Record): Buffer {
  const bytes = encodeData[type](data as never);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(types[type], 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(bytes.length, 8);
  return Buffer.concat([encodeName(name), fixed, bytes]);
}

/** Encodes fields one after another. */
function fields(...encoders: Array<(field: never) => Buffer>): (data: Array<string | number>) => Buffer {
  return (data) => Buffer.concat(data.map((field, index) => encoders[index]!(field as never)));
}

const encodeData: { [Type in RecordType]: (data: never) => Buffer } = {
  A: ipv4,
  AAAA: ipv6,
  CNAME: encodeName,
  NS: encodeName,
  PTR: encodeName,
  MX: fields(uint16, encodeName),
  TXT: (texts: string[]) => Buffer.concat(texts.map(encodeText)),
  SRV: fields(uint16, uint16, uint16, encodeName),
  SOA: fields(encodeName, encodeName, uint32, uint32, uint32, uint32, uint32),
  CAA: fields(
    (flags: number) => Buffer.from([flags]),
    encodeText,
    (value: string) => Buffer.from(value),
  ),
  NAPTR: fields(uint16, uint16, encodeText, encodeText, encodeText, encodeName),
};

function encodeName(name: string): Buffer {
  const labels = name
    .split('.')
    .filter((label) => label !== '')
    .map((label) => Buffer.from([label.length, ...Buffer.from(label, 'latin1')]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
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

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
