/**
 * What `HttpServer` and `node:http` make of the same bytes. Where both take a request, they must agree on what it is: who sits
 * behind a proxy that reads it in another way is sent requests that nobody has made.
 *
 * `GREENSTACK_FUZZ_RUNS` and `GREENSTACK_FUZZ_SEED` say how many random inputs are tried, and from which seed on.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ExecutionContext } from 'ava';
import { waitFor } from 'greenstack';
import { createConnection } from 'greenstack/socket';
import { answersIn, readToEnd, serving } from './support/http.js';
import { hubTest } from './support/hub-test.js';

/** What a server has made of an input. */
interface Verdict {
  /** The requests that were read to their end. */
  requests: string[];
  statuses: number[];
}

/** Two servers, and the requests that each has got. */
class Pair implements Disposable {
  readonly #seen = { ours: [] as string[], theirs: [] as string[] };
  readonly #ours = serving((request) => {
    const body = request.bytes().toString('latin1');
    this.#seen.ours.push(`${request.method} ${request.url} ${body}`);
    return 'ours';
  });
  readonly #theirs = createServer((request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (piece) => (body += piece));
    request.on('end', () => {
      this.#seen.theirs.push(`${request.method} ${request.url} ${body}`);
      response.end('theirs');
    });
    request.on('error', () => {});
  });

  constructor() {
    this.#theirs.listen(0, '127.0.0.1');
    waitFor(once(this.#theirs, 'listening'));
  }

  ours(input: string): Verdict {
    return this.#ask('ours', this.#ours.address.port, input);
  }

  theirs(input: string): Verdict {
    return this.#ask('theirs', (this.#theirs.address() as AddressInfo).port, input);
  }

  #ask(who: 'ours' | 'theirs', port: number, input: string): Verdict {
    this.#seen[who] = [];
    using socket = createConnection({ host: '127.0.0.1', port });
    try {
      socket.sendAll(Buffer.from(input, 'latin1'));
      socket.shutdown('w');
    } catch {
      // It has refused the beginning already.
    }
    const statuses = answersIn(readToEnd(socket)).map(({ status }) => status);
    return { requests: this.#seen[who], statuses };
  }

  [Symbol.dispose](): void {
    this.#ours.stop();
    this.#theirs.closeAllConnections();
    waitFor(new Promise((resolve) => this.#theirs.close(resolve)));
  }
}

const HOST = 'Host: a\r\n';
const LAST = `GET /last HTTP/1.1\r\n${HOST}Connection: close\r\n\r\n`;

const LINES = [
  'POST /1 HTTP/1.1\r\n',
  'POST /1 HTTP/1.0\r\n',
  'POST  /1 HTTP/1.1\r\n',
  'POST /1  HTTP/1.1\r\n',
  'POST /1 HTTP/1.1 \r\n',
  ' POST /1 HTTP/1.1\r\n',
  'POST\t/1 HTTP/1.1\r\n',
  'POST /1\tHTTP/1.1\r\n',
  'POST /1 /2 HTTP/1.1\r\n',
  'post /1 HTTP/1.1\r\n',
  'POST /1 HTTP/1.2\r\n',
  'POST /1 HTTP/1.10\r\n',
  'POST /1 HTTP/01.1\r\n',
  'POST /1 HTTP/1,1\r\n',
  'POST /1 HTTP/0.9\r\n',
  'POST /1 HTTP/2.0\r\n',
  'POST /1 RTSP/1.0\r\n',
  'POST /1\r\n',
  'POST /1 HTTP/1.1\n',
  'POST /1 HTTP/1.1\r',
  '\r\nPOST /1 HTTP/1.1\r\n',
  '\r\n\r\n\r\nPOST /1 HTTP/1.1\r\n',
  '\nPOST /1 HTTP/1.1\r\n',
  'POST http://b/1 HTTP/1.1\r\n',
  'POST http://u:p@b/1 HTTP/1.1\r\n',
  'POST /1#f HTTP/1.1\r\n',
  'POST /\x7f HTTP/1.1\r\n',
  'POST /\xc3\xa4 HTTP/1.1\r\n',
  'POST /%zz HTTP/1.1\r\n',
  'POST 1 HTTP/1.1\r\n',
  'POST * HTTP/1.1\r\n',
  'P@ST /1 HTTP/1.1\r\n',
  'PURGE /1 HTTP/1.1\r\n',
  'GET /1 HTTP/1.1\r\n',
  'PRI * HTTP/2.0\r\n',
  '\x16\x03\x01\x02\x00\r\n',
];

const FRAMINGS = [
  '',
  'Content-Length: 5\r\n',
  'Content-Length:5\r\n',
  'content-length: \t5 \t\r\n',
  'Content-Length: 05\r\n',
  'Content-Length: 5.0\r\n',
  'Content-Length: 5e0\r\n',
  'Content-Length: 5 5\r\n',
  'Content-Length: 5, 5\r\n',
  'Content-Length: 5,\r\n',
  'Content-Length: +5\r\n',
  'Content-Length: -5\r\n',
  'Content-Length: 0x5\r\n',
  'Content-Length: \r\n',
  'Content-Length: \x0b5\r\n',
  'Content-Length: 5\x00\r\n',
  'Content-Length: 5\xa0\r\n',
  'Content-Length : 5\r\n',
  'Content-Length\t: 5\r\n',
  ' Content-Length: 5\r\n',
  'Content-Length: 5\n',
  'Content-Length: 5\r',
  'X: y\rContent-Length: 5\r\n',
  'X: y\nContent-Length: 5\r\n',
  'X:\r\n Content-Length: 5\r\n',
  'Content-Length:\r\n 5\r\n',
  'Content-Length: 5\r\nContent-Length: 5\r\n',
  'Content-Length: 5\r\nContent-Length: 0\r\n',
  'Content-Length: 0\r\nContent-Length: 5\r\n',
  'Content-Length: 18446744073709551621\r\n',
  'Content-Length: 4294967301\r\n',
  'Content_Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding:chunked\r\n',
  'Transfer-Encoding: \tCHUNKED \r\n',
  'Transfer-Encoding: chunked,\r\n',
  'Transfer-Encoding: , chunked\r\n',
  'Transfer-Encoding: identity\r\n',
  'Transfer-Encoding: identity, chunked\r\n',
  'Transfer-Encoding: chunked, identity\r\n',
  'Transfer-Encoding: chunked, chunked\r\n',
  'Transfer-Encoding: gzip, chunked\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Transfer-Encoding: chunkedx\r\n',
  'Transfer-Encoding: chunked;q=1\r\n',
  'Transfer-Encoding: "chunked"\r\n',
  'Transfer-Encoding: \x0bchunked\r\n',
  'Transfer-Encoding: chunked\x00\r\n',
  'Transfer-Encoding: \r\n',
  'Transfer-Encoding : chunked\r\n',
  'Transfer-Encoding\r\n: chunked\r\n',
  'Transfer-Encoding:\r\n chunked\r\n',
  'Transfer-Encoding: chunked\n',
  'Transfer_Encoding: chunked\r\n',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
  'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n',
  'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n',
  'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
  'Content-Length: 5\r\nTransfer-Encoding: identity\r\n',
  'Connection: Content-Length\r\nContent-Length: 5\r\n',
  'Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n',
  'Expect: 100-continue\r\nContent-Length: 5\r\n',
  'Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 5\r\n',
  'Host: b\r\nContent-Length: 5\r\n',
];

const BODIES = [
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '5;a=b\r\nhello\r\n0;c\r\n\r\n',
  '5;a="b\r\nhello\r\n0\r\n\r\n',
  '5;a\nhello\r\n0\r\n\r\n',
  '5 ; a\r\nhello\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  ' 5\r\nhello\r\n0\r\n\r\n',
  '005\r\nhello\r\n000\r\n\r\n',
  '+5\r\nhello\r\n0\r\n\r\n',
  '0x5\r\nhello\r\n0\r\n\r\n',
  '5_0\r\nhello\r\n0\r\n\r\n',
  '5\nhello\r\n0\r\n\r\n',
  '5\rhello\r\n0\r\n\r\n',
  '5\r\nhello\n0\r\n\r\n',
  '5\r\nhello\r0\r\n\r\n',
  '5\r\nhello0\r\n\r\n',
  '5\r\nhello\r\n0\n\n',
  '5\r\nhello\r\n0\r\n\n',
  '5\r\nhello\r\n\r\n0\r\n\r\n',
  '5\r\nhello\r\n0\r\nX: y\r\n\r\n',
  '5\r\nhello\r\n0\r\nX : y\r\n\r\n',
  '5\r\nhello\r\n0\r\n X: y\r\n\r\n',
  '5\r\nhello\r\n0\r\nX: y\n\r\n',
  '5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n',
  '0\r\n\r\n',
  '\r\n5\r\nhello\r\n0\r\n\r\n',
  'g\r\nhello\r\n0\r\n\r\n',
  '-5\r\nhello\r\n0\r\n\r\n',
  '100000005\r\nhello\r\n0\r\n\r\n',
  '10000000000000005\r\nhello\r\n0\r\n\r\n',
];

/** What is taken here and not by `node:http`, and why that is right. */
const LENIENT: ReadonlyArray<[input: RegExp, why: string]> = [
  [/^post /, 'RFC 9110, 9.1: a method is any token, with its case'],
  [/HTTP\/1\.2\r/, 'RFC 9110, 2.5: a later minor version is understood as the latest that is known'],
  [
    /^(?:(?!\r\nContent-Length|\r\nTransfer-Encoding)[^])*\r\n\r\nhello/,
    'RFC 9110, 9.1: helloGET is a method',
  ],
  [
    /content-length: \t5 \t\r/,
    'RFC 9110, 5.6.3: tabs around a value are no part of it, which Node 20 does not know',
  ],
  [/Transfer-Encoding: chunked,\r/, 'RFC 9110, 5.6.1.2: empty elements of lists are ignored'],
  [/Upgrade: h2c/, 'RFC 9110, 7.8: an upgrade may be ignored; node:http closes the connection'],
  [/\r\n\r\n5 ?;/, 'RFC 9112, 7.1.1: chunk extensions that are not known are ignored'],
  [/\r\n0\r\nContent-Length: 9\r/, 'RFC 9112, 7.1.2: trailer fields are no part of the head'],
];

/** Whether one list begins with the other. */
function agree(some: string[], others: string[]): boolean {
  const shorter = Math.min(some.length, others.length);
  return some.slice(0, shorter).join('\n') === others.slice(0, shorter).join('\n');
}

/** Compares the two, and tells where one has taken more. */
function compare(t: ExecutionContext, pair: Pair, input: string, note = ''): void {
  const [ours, theirs] = [pair.ours(input), pair.theirs(input)];
  const shown = `${note}${JSON.stringify(input.replace(LAST, '…'))}: here ${JSON.stringify(ours)}, node:http ${JSON.stringify(theirs)}`;
  t.true(agree(ours.requests, theirs.requests), shown);
  if (ours.requests.length < theirs.requests.length) t.log(`taken by node:http: ${shown}`);
  if (ours.requests.length <= theirs.requests.length || note !== '') return;
  // Garbage ends the request before it, too, if node:http has received both at once.
  if ((ours.statuses.at(-1) ?? 0) >= 400) return;
  const why = LENIENT.find(([lenient]) => lenient.test(input))?.[1];
  t.truthy(why, shown);
  t.log(`taken here: ${why}: ${shown}`);
}

function compareAll(t: ExecutionContext, inputs: string[]): void {
  using pair = new Pair();
  for (const input of inputs) compare(t, pair, input);
}

hubTest('request lines mean the same to node:http, or nothing', (t) => {
  const lines = LINES.map((line) => `${line}${HOST}Content-Length: 5\r\n\r\nhello${LAST}`);
  compareAll(t, lines);
});

hubTest('lengths mean the same to node:http, or nothing', (t) => {
  const bodies = ['hello', '5\r\nhello\r\n0\r\n\r\n', '0\r\n\r\n'];
  for (const version of ['1.1', '1.0']) {
    const heads = FRAMINGS.map((framing) => `POST /1 HTTP/${version}\r\n${HOST}${framing}\r\n`);
    compareAll(
      t,
      heads.flatMap((head) => bodies.map((body) => `${head}${body}${LAST}`)),
    );
  }
});

hubTest('bodies in chunks mean the same to node:http, or nothing', (t) => {
  const head = `POST /1 HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`;
  compareAll(
    t,
    BODIES.map((body) => `${head}${body}${LAST}`),
  );
});

const RUNS = Number(process.env['GREENSTACK_FUZZ_RUNS'] ?? 300);
const SEED = Number(process.env['GREENSTACK_FUZZ_SEED'] ?? 1);

/** Numbers from a seed: the same each time. */
function randomOf(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e37_79b9) >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** A pipeline of requests, each of which is right or from the lists above, with a few bytes changed. */
function pipelineOf(random: (below: number) => number): string {
  const one = (list: readonly string[]): string => list[random(list.length)] as string;
  const right = [
    `GET /2 HTTP/1.1\r\n${HOST}\r\n`,
    `POST /3 HTTP/1.1\r\n${HOST}Content-Length: 5\r\n\r\nhello`,
    `POST /4 HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n`,
  ];
  let input = '';
  for (let count = 1 + random(3); count > 0; count--)
    input += random(2) === 0 ? one(right) : `${one(LINES)}${HOST}${one(FRAMINGS)}\r\n${one(BODIES)}`;
  input += LAST;
  for (let changes = random(3); changes > 0; changes--) {
    const place = random(input.length);
    const piece = ['', '\r', '\n', '\r\n', ' ', '\t', ':', '0', '\0', ',', ';', '\xff'][random(12)] as string;
    input = input.slice(0, place) + piece + input.slice(place + random(2));
  }
  return input;
}

hubTest('random pipelines mean the same to node:http, or nothing', (t) => {
  using pair = new Pair();
  for (let seed = SEED; seed < SEED + RUNS; seed++)
    compare(t, pair, pipelineOf(randomOf(seed)), `seed ${seed}: `);
});
