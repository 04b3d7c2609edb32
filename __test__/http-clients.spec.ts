/** `HttpServer` and clients that others have written. What is not installed is skipped. */
import { execFile, type ExecFileOptions, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { waitFor } from 'greenstack';
import { Event } from 'greenstack/event';
import { HttpError, HttpResponse, type HttpRequest } from 'greenstack/http';
import { serving, urlOf } from './support/http.js';
import { hubTestIf } from './support/hub-test.js';

const folder = mkdtempSync(join(tmpdir(), 'greenstack-clients-'));
test.after.always(() => rmSync(folder, { recursive: true }));

/** What a command prints; it fails if the command does. */
function output(command: string, args: string[], options: ExecFileOptions = {}): string {
  const pending = promisify(execFile)(command, args, { maxBuffer: 1 << 28, ...options, encoding: 'utf8' });
  return waitFor(pending).stdout;
}

function has(command: string, option: string): boolean {
  return spawnSync(command, [option]).error === undefined;
}

const sumOf = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

// ---- curl

const hasCurl = has('curl', '--version');

function curlTest(title: string, body: (t: ExecutionContext) => void): void {
  hubTestIf(hasCurl, `curl ${title}${hasCurl ? '' : ' (curl is not installed)'}`, body);
}

const curl = (...args: string[]): string => output('curl', ['-sS', '--max-time', '60', ...args]);

curlTest('keeps its connection', (t) => {
  const ports = new Set<number>();
  using server = serving(({ remoteAddress }) => {
    ports.add(remoteAddress.port);
    return 'x';
  });
  t.is(curl(urlOf(server, '/[1-50]')), 'x'.repeat(50));
  t.is(ports.size, 1);
});

curlTest('speaks HTTP/1.0, and takes what is streamed until the end', (t) => {
  const pieces = ['a', 'b', 'c'];
  using server = serving((request) => (request.path === '/stream' ? pieces.values() : request.httpVersion));
  t.is(curl('-0', urlOf(server, '/stream'), urlOf(server)), 'abc1.0');
  const kept = curl('-0', '-i', '-H', 'Connection: keep-alive', urlOf(server, '/1'), urlOf(server, '/2'));
  t.is(kept.match(/^connection: keep-alive\r$/gim)?.length, 2);
});

curlTest('is told to go on before it sends the body', (t) => {
  using server = serving((request) => {
    if (request.path === '/refused') throw new HttpError(403, 'no');
    return request.text();
  });
  const expecting = ['-H', 'Expect: 100-continue', '--expect100-timeout', '60', '-i', '-d', 'hello'];
  t.regex(
    curl(...expecting, urlOf(server)),
    /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n[^]*hello$/,
  );
  t.regex(curl(...expecting, urlOf(server, '/refused')), /^HTTP\/1\.1 403 Forbidden\r\n/);
});

curlTest('uploads in chunks', (t) => {
  using server = serving(
    (request) => `${request.headers.get('transfer-encoding')} ${sumOf(request.bytes())}`,
  );
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7919) >> 3));
  const file = join(folder, 'upload');
  writeFileSync(file, bytes);
  const got = curl('-H', 'Transfer-Encoding: chunked', '-T', file, urlOf(server));
  t.is(got, `chunked ${sumOf(bytes)}`);
});

curlTest('gets many things at once', (t) => {
  using server = serving((request) => `${request.path}\n`);
  const lines = curl('-Z', '--parallel-max', '50', urlOf(server, '/[1-200]')).trim().split('\n');
  const numbers = lines.map((line) => Number(line.slice(1))).sort((one, other) => one - other);
  t.deepEqual(
    numbers,
    Array.from({ length: 200 }, (_, index) => index + 1),
  );
});

// ---- wrk

const hasWrk = has('wrk', '--version');

function wrkTest(title: string, body: (t: ExecutionContext) => void): void {
  hubTestIf(hasWrk, `wrk ${title}${hasWrk ? '' : ' (wrk is not installed)'}`, body);
}

/** Loads a URL for a second. Returns how many responses came; none may have failed. */
function wrk(t: ExecutionContext, ...args: string[]): number {
  const report = output('wrk', ['-t', '1', '-d', '1s', ...args]);
  t.notRegex(report, /Socket errors|Non-2xx/);
  return Number(/(\d+) requests in /.exec(report)?.[1]);
}

wrkTest('gets an answer to every request, on 100 connections', (t) => {
  let served = 0;
  using server = serving(() => {
    served++;
    return 'hello';
  });
  const got = wrk(t, '-c', '100', urlOf(server));
  t.true(got > 0);
  // The last ones of each connection are not waited for.
  t.true(served >= got && served <= got + 200, `${served} served, ${got} got`);
});

wrkTest('sends bodies, 16 requests at once', (t) => {
  const script = join(folder, 'pipeline.lua');
  writeFileSync(
    script,
    `local requests
     function init()
       local body = string.rep("x", 300)
       local made = {}
       for i = 1, 16 do made[i] = wrk.format("POST", "/" .. i, {["Content-Length"] = #body}, body) end
       requests = table.concat(made)
     end
     function request() return requests end`,
  );
  const wrong: string[] = [];
  let last = 0;
  const numbers = new Map<number, number>();
  using server = serving((request: HttpRequest) => {
    const { port } = request.remoteAddress;
    const number = Number(request.path.slice(1));
    if (number !== ((numbers.get(port) ?? 0) % 16) + 1) wrong.push(request.path);
    numbers.set(port, number);
    last = request.text().length;
    return 'hello';
  });
  t.true(wrk(t, '-c', '20', '-s', script, urlOf(server)) > 0);
  t.is(last, 300);
  t.deepEqual(wrong, []);
});

// ---- net/http of Go

const hasGo = has('go', 'version');
const goClient = join(folder, 'http-client');

if (hasGo) {
  test.before('the client is compiled', (t) => {
    t.timeout(300_000);
    const source = join(__dirname, '..', '__test__', 'programs', 'http-client.go');
    const { status, stderr } = spawnSync('go', ['build', '-o', goClient, source], {
      env: { ...process.env, CGO_ENABLED: '0' },
      encoding: 'utf8',
    });
    t.is(status, 0, stderr);
  });
}

function goTest(title: string, body: (t: ExecutionContext) => void): void {
  hubTestIf(hasGo, `net/http of Go ${title}${hasGo ? '' : ' (go is not installed)'}`, body);
}

/** Lets the client do what it does in a scenario, and returns what it has seen. */
function go(scenario: string, url: string): unknown {
  return JSON.parse(output(goClient, [scenario, url]));
}

goTest('keeps its connection', (t) => {
  using server = serving((request) => request.text());
  t.deepEqual(go('keep-alive', urlOf(server)), { connections: 1, bodies: 100 });
});

goTest('uploads in chunks', (t) => {
  using server = serving(
    (request) => `${request.headers.get('transfer-encoding')} ${sumOf(request.bytes())}`,
  );
  t.deepEqual(go('chunked', urlOf(server)), { same: true });
});

goTest('sends trailers and gets some', (t) => {
  using server = serving((request) => {
    const body = request.text();
    const late = request.trailers.get('x-late') ?? '';
    return new HttpResponse([body, '!'].values(), { trailers: () => ({ 'X-Late': `${late} and back` }) });
  });
  t.deepEqual(go('trailers', urlOf(server)), { body: 'hello!', trailer: 'from the client and back' });
});

goTest('waits for 100 Continue, and sends no body that is refused', (t) => {
  using server = serving((request) => {
    if (request.path === '/refused') return new HttpResponse('no', { status: 403 });
    return request.text();
  });
  t.deepEqual(go('continue', urlOf(server)), {
    read: { status: 200, body: 'hello', told: true, sent: 5 },
    refused: { status: 403, body: 'no', told: false, sent: 0 },
  });
});

goTest('asks for the head alone', (t) => {
  using server = serving(() => 'x'.repeat(1000));
  t.deepEqual(go('head', urlOf(server)), { length: 1000, body: 0, after: 1000, connections: 1 });
});

goTest('takes compressed bodies', (t) => {
  using server = serving(() => 'x'.repeat(100_000), { compress: true });
  t.deepEqual(go('gzip', urlOf(server)), { uncompressed: true, length: 100_000 });
});

goTest('sends and gets 20 MB', (t) => {
  using server = serving(
    (request) => {
      const bytes = request.bytes();
      return new HttpResponse(bytes, { headers: { 'X-Sum': sumOf(bytes) } });
    },
    { maxBodySize: 20_000_000 },
  );
  t.deepEqual(go('large', urlOf(server)), { same: true, told: true, length: 20_000_000 });
});

goTest('uses 200 connections at once', (t) => {
  const all = new Event();
  const ports = new Set<number>();
  using server = serving((request) => {
    ports.add(request.remoteAddress.port);
    // The first of each waits until all others are there.
    if (ports.size === 200) all.set();
    all.wait();
    return request.text();
  });
  t.deepEqual(go('many', urlOf(server)), { bodies: 4000 });
  t.true(ports.size >= 200);
});
