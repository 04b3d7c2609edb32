/**
 * The one import of the native module, with the types of its functions.
 *
 * Loading verifies V8's insides; where that fails, `require` throws an error that says which check failed and what
 * is supported, and nothing has been changed.
 */
import { GreenstackError } from './errors.js';
import { version } from './version.js';

/** Why a parked greenlet was entered again, unless it was woken: then native code returns nothing. */
export const enum Cause {
  Deadline = 1,
  Interrupted = 2,
}

/** Results of socket functions and `resolve` beside counts and negative `errno`. */
export const enum Outcome {
  TimedOut = -100_001,
  Interrupted = -100_002,
  Busy = -100_003,
  Pending = -100_004,
}

/** Families of sockets, as native code names them. */
export const enum SocketFamily {
  Unix = 1,
  V4 = 4,
  V6 = 6,
}

/** Bits of `kind()`. */
export const enum Kind {
  Family = 15,
  Datagram = 16,
  Listening = 32,
}

/** Bits for the sides of a socket. */
export const enum Sides {
  Read = 1,
  Write = 2,
}

/** Options of `tlsConfig()`, as bits; `flag` in crates/node/src/tls.rs has the same list. */
export const enum TlsFlag {
  RejectUnauthorized = 1,
  CheckName = 2,
  Resumption = 4,
  LogKeys = 8,
  NotTls12 = 16,
  NotTls13 = 32,
  RequestCertificate = 64,
  NameRoots = 128,
}

/** Where in the scratch memory an address is, and before it the bytes that were received. */
export const ADDRESS_OFFSET = 65_536;

/** Bits of what `outlook()` returns; `outlook` in crates/node has the same list. */
export const enum Outlook {
  /** Somebody is ready. */
  Ready = 1,
  /** A timer is pending. */
  Timers = 2,
  /** A timer is pending that keeps the process alive. */
  Referenced = 4,
  /** A greenlet is parked on a socket, or something else from outside is waited for. */
  Awaited = 8,
  /** libuv or a resolver works on something that ends by itself. */
  Requests = 16,
}

/** What a hub was doing when it was woken from another thread. */
export const enum Called {
  /** Nothing: it is no more. */
  Ended = 0,
  /** It has something else to do, and may take its time. */
  Working = 1,
  /** It waited. */
  Resting = 2,
}

/** Positions in {@link shared}; `SharedWord` in crates/node has the same list. */
export const enum Shared {
  /** Greenlets spawned since native code last looked at its ready queue. */
  Spawned = 0,
  /** Greenlets that the running batch still has to start. */
  Starting = 1,
  /** Bytes sent by the call to `send` that failed: `SentHigh * 2 ** 30 + SentLow`. */
  SentLow = 2,
  SentHigh = 3,
}

/** What `rest()` returns to a runner beside the slots of timers; `crates/node/src/scheduling.rs` has the same. */
export const enum Rest {
  Ends = -1,
  /** A request is to be taken by `httpTake`. */
  Serves = -2,
  /** A fiber is to be started. */
  StartsFiber = -3,
}

/** Positions in the words of a request that is taken; `Word` in crates/node/src/http.rs has the same list. */
export const enum HttpWord {
  /** 0: accepting has failed, by {@link Errno}; if that is not 0 otherwise, the handshake of this connection has. */
  Connection = 0,
  Server = 1,
  Socket = 2,
  /** Of {@link HttpFact}. */
  Facts = 3,
  Method = 4,
  Start = 5,
  MethodEnd = 6,
  TargetEnd = 7,
  Fields = 8,
  /** Bytes of the body; −1: in chunks. */
  Length = 9,
  /** With which status it is to be refused; 0: it is not. */
  Status = 10,
  Errno = 11,
}

/** Bits of {@link HttpWord.Facts}. */
export const enum HttpFact {
  Is11 = 1,
  KeepsAlive = 2,
  ExpectsContinue = 4,
  Upgrades = 8,
}

/** What a response is told: a media type, and bits. */
export const enum HttpFlag {
  Text = 1,
  Bytes = 2,
  Json = 3,
  Html = 4,
  Close = 8,
  HasDate = 16,
  HasFields = 32,
  HasReason = 64,
  BodyIsText = 128,
  BodyIsBytes = 256,
}

/** Whether and how Node reports an error; `call_reporting` in crates/node has the same numbers. */
export const enum Reporting {
  Nothing = 0,
  /** As thrown by a script. */
  Thrown = 1,
  /** As thrown by an ES module: for Node, the reason of a promise that is rejected. */
  Rejected = 2,
}

/** Results of functions about bodies, beside those of sockets. */
export const enum HttpOutcome {
  /** The body of a response is not as long as was announced. */
  Misfit = -100_999,
  /** The client has ended the connection in the middle. Less than this: the status of a refusal. */
  Truncated = -101_000,
}

/** The counts of `statistics()`, in this order. */
export type Counts = [
  ready: number,
  timers: number,
  sockets: number,
  lookups: number,
  stacks: number,
  runners: number,
  idleRunners: number,
  switches: number,
];

type SocketKey = number;
type TlsKey = number;
type ConfigKey = number;

/** What the ends of a session have agreed on; texts are empty where there is nothing. */
export type TlsAgreed = [
  protocol: string,
  cipher: string,
  standardCipher: string,
  alpnProtocol: string,
  serverName: string,
  resumed: string,
  objectionCode: string,
  objection: string,
];

/**
 * What to find out about a name: the number of a kind of record, in the order of `RecordKind` in crates/hub; or these together.
 * crates/node has the same list.
 */
export const enum Query {
  /** Addresses, plus a family (0: both) and an order. */
  Addresses = 0x80,
  Ipv4 = 0x10,
  Ipv6 = 0x20,
  Ipv4First = 1,
  Ipv6First = 2,
  Verbatim = 3,
  /** All addresses rather than the first. */
  All = 0x100,
  /** With {@link Query.All}: before them, the name at the end of all aliases. */
  Canonical = 0x200,
}

/**
 * What was found: an address; all of them; of A and AAAA records, addresses and times to live by turns; of other records, the
 * time to live and the fields of each. Or `'!CODE message'`.
 */
export type Resolved = string | string[] | RecordFields[];

/** The time to live of a record, in seconds, and its fields. */
export type RecordFields = [ttl: number, ...fields: Array<string | number>];

interface Native {
  nativeVersion(): string;
  /** Memory that native code fills with bytes and addresses, to be copied from before anything else happens. */
  readonly scratch: ArrayBuffer;
  /** Hands over what native code calls. `run(id, handedOver)` is a runner's loop, `turn()` calls {@link turn}. */
  start(
    run: (id: number, handedOver: number) => void,
    turn: () => void,
    inspect: () => void,
    resource: object,
    words: Int32Array,
    idleRunners: number,
  ): void;
  /** From now on the async context in V8 follows the greenlet. */
  useNativeContext(): void;
  getContext(): unknown;
  setContext(context: unknown): void;
  park(): Cause | undefined;
  parkFor(ms: number, referenced: boolean): Cause | undefined;
  yieldNow(): void;
  /**
   * Enters the stack of a fiber; −1: an unused one, on which a runner finds `Rest.StartsFiber`. Returns when it is left by
   * whatever means, and `true` if the stack was new.
   */
  enterFiber(stack: number): true | undefined;
  /** Leaves the stack for whoever has entered it by `enterFiber`, or else the hub. Returns when it is entered again. */
  leaveFiber(): void;
  setIdleRunners(count: number): void;
  /** A runner has nothing to run. {@link Rest}; 0: start greenlets; n: call the timer of slot n − 1. */
  rest(): number;
  wake(stack: number): void;
  /** Makes a parked greenlet ready such that its call ends with `Interrupted`. `next`: before all others. */
  interrupt(stack: number, next: boolean): void;
  /** The count of spawned greenlets went from 0 to 1 on the main stack. */
  noteSpawned(): void;
  /** Makes a runner on a stack of `size` bytes and enters it in its turn. Returns its number. */
  startOn(size: number): number;
  startTimer(ms: number, slot: number, referenced: boolean): number;
  /** `false`: it has expired, and its slot will be called. */
  cancelTimer(key: number): boolean;
  /** From now on only {@link jump} moves the time of timers. */
  stopTime(): void;
  resumeTime(): void;
  /**
   * Moves stopped time to the next timer, but not past `limit` ms after the stop, and makes ready what is due then. Returns
   * how far it was moved since the stop, in ms.
   */
  jump(limit: number): number;
  /** What may happen next: bits of {@link Outlook}. */
  outlook(): number;
  turn(): void;
  /** Enters a parked stack only to call the `inspect` of {@link start} there. */
  inspectStack(stack: number): void;
  keepAlive(change: 1 | -1): void;
  /** For stacks made from now on, in bytes. */
  setStackSize(bytes: number): void;
  setSwitchInterval(ms: number): void;
  /** To be called outside of, inside, twice inside and outside of `JSON.stringify`, before {@link followShutdownList}. */
  lookAtIsolate(): void;
  /** Whether V8 has a list of running `JSON.stringify` calls; it follows the greenlet from now on. */
  followShutdownList(): boolean;
  /** Throws unless the collector's words are still followed. */
  checkIntact(): void;
  statistics(): Counts;
  /** Of sockets: results are keys and counts, negative errno or {@link Outcome}. Timeouts are in ms; negative: none, 0: never park. */
  open(family: SocketFamily, datagram: boolean): SocketKey;
  openPair(datagram: boolean): [SocketKey, SocketKey] | number;
  /** Takes a descriptor over, whatever comes of it. */
  adopt(descriptor: number): SocketKey;
  /** A copy of a descriptor of any kind, for `waitReady` and `watch` only. */
  watchCopy(descriptor: number): SocketKey;
  duplicate(descriptor: number): number;
  /** Forgets the socket; the descriptor is the caller's. */
  detach(key: SocketKey): number;
  /** A new key for the socket; by the old one it is closed. */
  rename(key: SocketKey): SocketKey;
  descriptor(key: SocketKey): number;
  /** Its {@link SocketFamily}, plus {@link Kind}. */
  kind(key: SocketKey): number;
  /** Addresses are an IP address and a port, or a path and −1. */
  bind(key: SocketKey, host: string, port: number): number;
  listen(key: SocketKey, backlog: number): number;
  /** 0: connected; `Outcome.Pending`: `finishConnect` tells. */
  startConnect(key: SocketKey, host: string, port: number): number;
  finishConnect(key: SocketKey, timeout: number): number;
  accept(key: SocketKey, timeout: number): SocketKey;
  /** Tries once; also in the hub. */
  acceptNow(key: SocketKey): SocketKey;
  receive(key: SocketKey, limit: number, timeout: number): number;
  receiveInto(key: SocketKey, view: Uint8Array, offset: number, length: number, timeout: number): number;
  /** The length of a datagram, also of what did not fit; its sender is in the scratch memory, as after `address`. */
  receiveFrom(key: SocketKey, limit: number, timeout: number): number;
  receiveFromInto(key: SocketKey, view: Uint8Array, offset: number, length: number, timeout: number): number;
  send(
    key: SocketKey,
    view: Uint8Array,
    offset: number,
    length: number,
    timeout: number,
    all: boolean,
  ): number;
  /** An empty host is where the socket is connected to. */
  sendTo(
    key: SocketKey,
    view: Uint8Array,
    offset: number,
    length: number,
    timeout: number,
    host: string,
    port: number,
  ): number;
  /** Fewer than `count` at the end of the file. */
  sendFile(key: SocketKey, descriptor: number, offset: number, count: number, timeout: number): number;
  /** Puts bytes back: they are received before all others. */
  unread(key: SocketKey, bytes: Uint8Array): number;
  takeUnread(key: SocketKey): Buffer | number;
  unreadLength(key: SocketKey): number;
  /** 1: reading, 2: writing, 3: both. */
  shutdown(key: SocketKey, how: 1 | 2 | 3): number;
  close(key: SocketKey): void;
  /** Puts the address into the scratch memory: `readAddress` of socket-address.ts. */
  address(key: SocketKey, remote: boolean): number;
  setOption(key: SocketKey, name: string, value: number): number;
  getOption(key: SocketKey, name: string): [number] | number;
  setRawOption(key: SocketKey, level: number, name: number, value: Uint8Array): number;
  /** How many bytes of `value` were written. */
  getRawOption(key: SocketKey, level: number, name: number, value: Uint8Array): number;
  setMembership(key: SocketKey, group: string, interfaceIndex: number, join: boolean): number;
  setMulticastInterface(key: SocketKey, address: string, interfaceIndex: number): number;
  /** The number of a network interface; 0 if there is none of that name. */
  interfaceIndex(name: string): number;
  /** Which of the {@link Sides} are ready. */
  waitReady(key: SocketKey, sides: number, timeout: number): number;
  /** Calls the slot once, when the side is ready or the socket is closed. */
  watch(key: SocketKey, side: Sides, slot: number, referenced: boolean): number;
  /** `false`: the slot will be called, or was. */
  unwatch(key: SocketKey, side: Sides): boolean;
  /** Asks about an array of `struct pollfd` without waiting. How many are ready. */
  pollDescriptors(view: Uint8Array): number;
  readonly httpWords: ArrayBuffer;
  /** Serves a listening socket, which stays the caller's; options as crates/node reads them. The server's number. */
  httpListen(listener: SocketKey, options: number[]): number;
  httpAccepting(server: number, accepts: boolean): void;
  /** So many requests run at a time from now on. */
  httpRoom(server: number, requests: number): void;
  /** It accepts no more, connections end with the request that they have, and it with the last of them. */
  httpRetire(server: number): void;
  /** Requests that are under way or wait for room. */
  httpPending(server: number): number;
  /** Forgets a server and closes its connections. */
  httpClose(server: number): void;
  /** The head of the request to be run; of a refused one what is wrong with it and, in a second line, its beginning. */
  httpTake(): string;
  /** The whole body, if it has come. */
  httpBody(connection: number, asText: boolean): string | Buffer | undefined;
  /** Bytes put into the scratch memory; 0 at the end; else a code. */
  httpRead(connection: number, limit: number, timeout: number): number;
  httpReadAll(connection: number, most: number, asText: boolean, timeout: number): string | Buffer | number;
  httpTrailers(connection: number): string;
  /** 1: sent, and the request is over; 0: to be flushed. Of a text the length, at the most {@link HTTP_TEXT}. */
  httpRespond(
    connection: number,
    status: number,
    flags: number,
    fields?: string,
    body?: string | Uint8Array,
    units?: number,
    reason?: string,
  ): number;
  httpBegin(
    connection: number,
    status: number,
    flags: number,
    fields: string,
    length: number,
    reason: string,
  ): number;
  httpWrite(connection: number, piece: Uint8Array): number;
  httpEnd(connection: number, trailers: string): number;
  /** The time is that without any progress. */
  httpFlush(connection: number, timeout: number): number;
  /** An interim response: 1: all is sent; 0: the rest goes with what follows. */
  httpInterim(connection: number, status: number, reason: string, fields: string): number;
  httpAbort(connection: number): void;
  /** The session; 0: it is not encrypted, or closed. */
  httpTls(connection: number): number;
  /** 0: the slot is called when something comes from the client, or it goes; 1: it has gone. */
  httpWatch(connection: number, slot: number): number;
  /** `false` if the slot will be called, or was. */
  httpUnwatch(connection: number): boolean;
  /** What was received and not used; the socket is the caller's. */
  httpDetach(connection: number): Buffer | number;
  /** The argument that cannot be used and why, if there is one. Of each identity: name, certificate, key. */
  tlsConfig(
    server: boolean,
    identities: string[],
    roots: string[],
    alpnProtocols: string[],
    ciphers: string[],
    flags: number,
  ): ConfigKey | [argument: string, problem: string];
  tlsRemoveConfig(key: ConfigKey): void;
  /** Lines that were noted since the last call. */
  tlsKeyLog(key: ConfigKey): string;
  /** An empty name is any server. By its old key, the socket is closed. */
  tlsOpen(
    socket: SocketKey,
    config: ConfigKey,
    name: string,
  ): [key: TlsKey, socket: SocketKey] | [argument: string, problem: string];
  /** Of sessions: as the same calls for sockets; after `EPROTO`, `tlsFailure` tells more. */
  tlsHandshake(key: TlsKey, timeout: number): number;
  tlsReceive(key: TlsKey, limit: number, timeout: number): number;
  /** Whether receiving would not wait. Takes in what arrives without meaning anything to the user. */
  tlsHasInput(key: TlsKey): boolean;
  tlsReceiveInto(key: TlsKey, view: Uint8Array, offset: number, length: number, timeout: number): number;
  tlsSend(
    key: TlsKey,
    view: Uint8Array,
    offset: number,
    length: number,
    timeout: number,
    all: boolean,
  ): number;
  tlsShutdown(key: TlsKey, timeout: number): number;
  /** 0: the session is no more; 1: there is plaintext that was not received. */
  tlsUnwrap(key: TlsKey, timeout: number): number;
  /** Ends the session; the socket stays open. */
  tlsClose(key: TlsKey): void;
  tlsFailure(key: TlsKey): [code: string, message: string] | undefined;
  tlsAgreed(key: TlsKey): TlsAgreed | undefined;
  /** In DER. */
  tlsPeerCertificates(key: TlsKey): Buffer[];
  /**
   * A nameserver is `udp ip:port`, `tcp ip:port` or `tls ip:port name`. The numbers: timeout, tries, ndots (negative: as the
   * system), and of the cache the size, the longest and the shortest time. Times are in ms.
   */
  addResolver(
    nameservers: string[],
    search: string[],
    authorities: string[],
    numbers: number[],
    hosts: boolean,
    rotate: boolean,
    searchGiven: boolean,
  ): number;
  removeResolver(id: number): void;
  /** What can be said of a name without asking anybody. `query` has bits of {@link Query}. */
  known(resolver: number, name: string, query: number): Resolved | undefined;
  resolve(resolver: number, name: string, query: number, timeout: number): Resolved | number;
  /** The names of an IP address in the hosts file. */
  namesOf(resolver: number, ip: string): string[] | undefined;
  /** The name under which DNS has the names of an IP address. */
  reversed(ip: string): string;
  /** Lets other hubs of the process wake this one. `list` tells hubs of this copy of the native module from others. */
  joinHubs(): [number: number, list: number];
  /** Wakes a hub from any thread. Until the hub has answered, more calls change nothing. */
  wakeHub(number: number): Called;
  isHubAlive(number: number): boolean;
  /** From now on this hub can be woken anew. Returns a count that changes when hubs end: then all others are woken. */
  answerWake(): number;
  /** Lets other threads have the processor for a moment. */
  giveWay(): void;
  /** Calls `fn`. What it throws is reported as Node reports what leaves a script, with the line that has thrown it. */
  callReporting(fn: () => void, reporting: (error: unknown) => Reporting): void;
}

/** The longest text that a response takes as it is; longer ones are passed as bytes. */
export const HTTP_TEXT = 65_536;

const SUPPORTED = 'Node 20, 22, 24 and 26 on linux-x64 (glibc)';
const SUPPORTED_MAJORS = [20, 22, 24, 26];

function unsupported(reason: string, cause?: unknown): GreenstackError {
  const where = `Node ${process.version} on ${process.platform}-${process.arch}`;
  return new GreenstackError(
    'ERR_GREENSTACK_UNSUPPORTED',
    `greenstack cannot run with ${where}: ${reason}. Supported: ${SUPPORTED}.`,
    { cause },
  );
}

/** The major version of the running Node. */
export const nodeMajor = Number.parseInt(process.versions.node, 10);

/** What a failed check says; else what the loader says, whose causes are one for each way it has tried. */
function reasonOf(error: unknown): string {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if (cause.message.startsWith("check '")) return cause.message;
  }
  const reason = error instanceof Error ? error.message : String(error);
  return `its native module does not load (${reason})`;
}

function load(): Native {
  const forced = process.env['GREENSTACK_FORCE_FAIL'];
  if (process.platform !== 'linux' || process.arch !== 'x64' || forced === 'platform') {
    throw unsupported('there is no native module for this platform');
  }
  if (!SUPPORTED_MAJORS.includes(nodeMajor) || forced === 'node-version') {
    throw unsupported('this version of Node has not been verified');
  }
  let native: Native;
  try {
    native = require('../binding.js') as Native;
  } catch (error) {
    throw unsupported(reasonOf(error), error);
  }
  if (native.nativeVersion() !== version) {
    throw unsupported(
      `its native module is of version ${native.nativeVersion()}, not ${version}: reinstall greenstack`,
    );
  }
  return native;
}

/** Where the copy of this package that has this thread's hub says that it is. */
const COPY = Symbol.for('greenstack.copy');

/** A thread has one hub, so it can have one copy of this package. */
function claimThread(): void {
  const holder = globalThis as { [COPY]?: string };
  const other = holder[COPY];
  if (other !== undefined) {
    const again = other === __dirname ? 'its modules were loaded again' : `another copy is in ${other}`;
    throw new GreenstackError(
      'ERR_GREENSTACK_LOADED_TWICE',
      `greenstack (in ${__dirname}) is loaded in this thread already: ${again}. A thread has one hub. Keep one copy of the ` +
        'package (npm ls greenstack), and do not reset its modules.',
    );
  }
  Object.defineProperty(holder, COPY, { value: __dirname });
}

claimThread();

/** The functions of crates/node for this isolate. */
export const native: Native = load();

/** Words that native code and TypeScript share without a call. Never handed out. */
export const shared = new Int32Array(4);

/** The error to throw when a later load-time check (the self-test) fails. */
export function refuse(error: unknown): GreenstackError {
  return unsupported(error instanceof Error ? error.message : String(error), error);
}
