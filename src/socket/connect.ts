/** `createConnection`: from a name to the first of its addresses that answers. */
import { isIP } from 'node:net';

import { native, Outcome, Sides, type SocketFamily } from '../binding.js';
import { checkFlag, checkMilliseconds, checkOptions, describe } from '../checks.js';
import { getDefaultResolver, type LookupAddress, Resolver } from '../dns.js';
import { park, requireGreenlet, type Runnable, type Wait, wake } from '../hub.js';
import { type CheckedLimits, checkLimits, countingDown, type LimitOptions, withinLimits } from '../limits.js';
import {
  type Address,
  checkPort,
  familyOf,
  parseAddress,
  type ParsedAddress,
  PATH,
  whereOf,
} from '../socket-address.js';
import { errnoOf, type SystemError, systemError } from '../system-error.js';
import { now } from '../timers.js';
import { Watch } from '../watch.js';
import { toNative } from './options.js';
import { connecting, openSocket, type Socket } from './socket.js';

/** Options of {@link createConnection}, limits included. They hold for name, connection and all attempts together. */
export interface ConnectOptions extends LimitOptions {
  /** Where to connect from; only addresses of its family are tried. */
  localAddress?: { host: string; port?: number };
  /** Who resolves the name (default: the default resolver). */
  resolver?: Resolver;
  /** Only addresses of this family; 0 (default): of both. */
  family?: 0 | 4 | 6;
  /**
   * How long one address is tried alone before the next one is tried too, in ms (default: 250, at least 10). `Infinity`: one
   * after another. Node: `autoSelectFamilyAttemptTimeout`.
   */
  attemptDelay?: number;
  /** Send small pieces at once instead of waiting for the acknowledgement of earlier ones (default: no, as `node:net`). */
  noDelay?: boolean;
  /** Ask a silent peer whether it is still there, after so many ms or, if `true`, after the system's two hours (default: no). */
  keepAlive?: boolean | number;
}

const LOOPBACK = 'localhost';

/** What RFC 8305 recommends, and Node has; and the least that it allows. */
const ATTEMPT_DELAY = 250;
const LEAST_ATTEMPT_DELAY = 10;

/** Everything about a connection but where it goes to. */
interface Plan {
  readonly local: ParsedAddress | null;
  readonly attemptDelay: number;
  readonly noDelay: boolean;
  /** `null`: not at all; 0: after the system's time. */
  readonly keepAlive: number | null;
  readonly left: () => CheckedLimits;
}

/**
 * Connects to a TCP server: resolves the name and tries its addresses, of both families by turns, until one answers; or to a
 * Unix-domain socket. An attempt begins when the one before has failed or has lasted for `attemptDelay`, and ends the others
 * when it succeeds. Switches. gevent: `socket.create_connection`.
 *
 * @param address - a port of this host, `{ host, port }`, `'host:port'`, `{ path }` or `'unix:/path'`
 * @param options - limits for everything together, and `localAddress`, `resolver`, `family`, `attemptDelay`, `noDelay`,
 *   `keepAlive`
 * @throws {SystemError} `ECONNREFUSED`, …: the error of the address, or an `AggregateError` of all if there were several
 * @throws {DnsError} if the name cannot be resolved
 * @throws {SocketTimeout} `ETIMEDOUT`, if the time is up first
 */
export function createConnection(address: Address, options?: ConnectOptions): Socket {
  const call = 'createConnection()';
  const parsed = parseAddress(call, address);
  const given = checkOptions(call, options);
  const limits = checkLimits(call, given);
  const { resolver = getDefaultResolver(), family = 0 } = given;
  if (!(resolver instanceof Resolver))
    throw new TypeError(`${call}: resolver must be a Resolver, got ${describe(resolver)}`);
  if (family !== 0 && family !== 4 && family !== 6)
    throw new TypeError(`${call}: family must be 0, 4 or 6, got ${describe(family)}`);
  const plan = checkPlan(call, given, countingDown(limits));
  const wanted = familyWanted(call, family, plan.local, parsed);
  requireGreenlet(call);
  return withinLimits(call, limits, () => {
    if (parsed.port === PATH) return connectAlone(parsed, plan);
    const host = parsed.host === '' ? LOOPBACK : parsed.host;
    const addresses = resolve(resolver, host, parsed.port, wanted, plan.left);
    const remotes = byTurns(addresses.map(({ address: ip }) => ({ host: ip, port: parsed.port })));
    const [only] = remotes;
    const isAlone = only !== undefined && remotes.length === 1;
    return prepared(isAlone ? connectAlone(only, plan) : new Race(remotes, plan).run(), plan);
  });
}

function checkPlan(call: string, given: ConnectOptions, left: () => CheckedLimits): Plan {
  const { localAddress, attemptDelay = ATTEMPT_DELAY, noDelay = false, keepAlive = false } = given;
  checkFlag(call, 'noDelay', noDelay);
  const isTime = typeof keepAlive === 'number';
  if (!isTime) checkFlag(call, 'keepAlive', keepAlive);
  return {
    local: localAddress === undefined ? null : checkLocal(call, localAddress),
    attemptDelay: Math.max(LEAST_ATTEMPT_DELAY, checkMilliseconds(`${call}: attemptDelay`, attemptDelay)),
    noDelay,
    keepAlive: isTime ? toNative(call, 'keepAliveIdle', keepAlive) : keepAlive ? 0 : null,
    left,
  };
}

function checkLocal(call: string, local: unknown): ParsedAddress {
  if (typeof local !== 'object' || local === null)
    throw new TypeError(`${call}: localAddress must be { host, port? }, got ${describe(local)}`);
  const { host, port = 0 } = local as { host?: unknown; port?: unknown };
  if (typeof host !== 'string' || isIP(host) === 0)
    throw new TypeError(`${call}: localAddress.host must be an IP address, got ${describe(host)}`);
  return parseAddress(call, { host, port: checkPort(call, port) });
}

/** The family of the addresses to try. */
function familyWanted(
  call: string,
  family: 0 | 4 | 6,
  local: ParsedAddress | null,
  remote: ParsedAddress,
): 0 | 4 | 6 {
  if (local === null) return family;
  const localFamily = familyOf(local) as 4 | 6;
  const remoteFamily = familyOf(remote);
  if ((family !== 0 && family !== localFamily) || (remoteFamily !== 0 && remoteFamily !== localFamily))
    throw new TypeError(
      `${call}: localAddress.host is of another family than where to connect to: ${local.host}`,
    );
  return localFamily;
}

function resolve(
  resolver: Resolver,
  host: string,
  port: number,
  family: 0 | 4 | 6,
  left: () => CheckedLimits,
): LookupAddress[] {
  const { timeout } = left();
  try {
    return resolver.lookup(host, { all: true, family, timeout: timeout < 0 ? null : timeout });
  } catch (error) {
    // The limit of the whole call is no failure of the resolver's.
    if ((error as SystemError).code === 'ETIMEOUT' && left().timeout === 0)
      throw overdue({ host, port }, left());
    throw error;
  }
}

/** The error when the time of the whole call is up. */
function overdue(remote: ParsedAddress, { limit }: CheckedLimits): unknown {
  return limit?.thrown() ?? systemError(errnoOf('ETIMEDOUT'), 'connect', whereOf(remote));
}

/** The addresses of both families by turns, as RFC 8305 has it; the first remains the first. */
function byTurns(remotes: readonly ParsedAddress[]): ParsedAddress[] {
  const [first] = remotes;
  if (first === undefined) return [];
  const isLikeFirst = (remote: ParsedAddress): boolean => familyOf(remote) === familyOf(first);
  const like = remotes.filter(isLikeFirst);
  const unlike = remotes.filter((remote) => !isLikeFirst(remote));
  const rounds = Array.from({ length: Math.max(like.length, unlike.length) }, (_, round) => [
    ...like.slice(round, round + 1),
    ...unlike.slice(round, round + 1),
  ]);
  return rounds.flat();
}

/** Makes a socket to connect to `remote` from where the plan says. */
function openTo(remote: ParsedAddress, { local }: Plan): Socket {
  const socket = openSocket(familyOf(remote) as SocketFamily);
  try {
    if (local !== null) socket.bind(local);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Connects to the only address; nothing is left open if that fails. */
function connectAlone(remote: ParsedAddress, plan: Plan): Socket {
  const socket = openTo(remote, plan);
  try {
    socket._connect(remote, { ...plan.left(), signal: null });
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Sets what a connection is to have. */
function prepared(socket: Socket, { noDelay, keepAlive }: Plan): Socket {
  try {
    if (noDelay) socket.setOption('noDelay', true);
    if (keepAlive !== null) socket.setOption('keepAlive', true);
    if (keepAlive !== null && keepAlive > 0) socket.setOption('keepAliveIdle', keepAlive);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** One attempt of a {@link Race}. */
interface Attempt {
  readonly remote: ParsedAddress;
  readonly socket: Socket;
  readonly watch: Watch;
}

/** Attempts to connect to several addresses, of which the first that succeeds ends the others. */
class Race implements Wait {
  readonly #greenlet: Runnable;
  readonly #plan: Plan;
  /** Addresses that have not been tried yet. */
  readonly #remotes: ParsedAddress[];
  /** Attempts under way, and those of them that the system has news of. */
  readonly #attempts = new Set<Attempt>();
  readonly #decided: Attempt[] = [];
  readonly #errors: SystemError[] = [];
  #last: ParsedAddress;

  constructor(remotes: ParsedAddress[], plan: Plan) {
    this.#greenlet = requireGreenlet('createConnection()');
    this.#plan = plan;
    this.#remotes = remotes;
    this.#last = remotes[0] as ParsedAddress;
  }

  /** Whoever waits in `run` ends the attempts. */
  cancel(): void {}

  describe(): string {
    return connecting(this.#last).describe();
  }

  /** Returns the first connection. However it ends, all other attempts are closed. */
  run(): Socket {
    try {
      let nextStart = 0;
      for (;;) {
        const decided = this.#decided.shift();
        let connected: Socket | null = null;
        if (decided !== undefined) {
          connected = this.#finish(decided);
          nextStart = 0;
        } else if (this.#remotes.length > 0 && (this.#attempts.size === 0 || now() >= nextStart)) {
          connected = this.#startNext();
          nextStart = this.#attempts.size === 0 ? 0 : now() + this.#plan.attemptDelay;
        } else if (this.#attempts.size === 0) {
          throw failureOf(this.#errors);
        } else {
          this.#park(nextStart);
        }
        if (connected !== null) return connected;
      }
    } finally {
      for (const attempt of this.#attempts) this.#giveUp(attempt);
    }
  }

  /** Waits until the system has news of an attempt, or the next is to start. */
  #park(nextStart: number): void {
    const limits = this.#plan.left();
    if (limits.timeout === 0) throw overdue(this.#last, limits);
    const pause = this.#remotes.length > 0 ? Math.max(0, nextStart - now()) : Infinity;
    const timeout = limits.timeout < 0 ? pause : Math.min(pause, limits.timeout);
    park('createConnection()', this, timeout === Infinity ? -1 : timeout);
  }

  /** Begins the next attempt. Returns its socket if it is connected at once. */
  #startNext(): Socket | null {
    const remote = (this.#last = this.#remotes.shift() as ParsedAddress);
    let socket: Socket;
    try {
      socket = openTo(remote, this.#plan);
    } catch (error) {
      this.#errors.push(error as SystemError);
      return null;
    }
    const watch = new Watch(socket._key, Sides.Write, () => {
      this.#decided.push(attempt);
      wake(this.#greenlet, this);
    });
    const attempt: Attempt = { remote, socket, watch };
    this.#attempts.add(attempt);
    return this.#note(attempt, native.startConnect(socket._key, remote.host, remote.port));
  }

  /** Looks what has become of an attempt. Returns its socket if it is connected. */
  #finish(attempt: Attempt): Socket | null {
    const code = native.finishConnect(attempt.socket._key, 0);
    return this.#note(attempt, code === Outcome.TimedOut ? Outcome.Pending : code);
  }

  /** @param code - 0, `Pending`, or an error of the system */
  #note(attempt: Attempt, code: number): Socket | null {
    const result = code === Outcome.Pending ? attempt.watch.start() : code;
    if (result === 0 && code === Outcome.Pending) return null;
    if (result === 0) {
      this.#attempts.delete(attempt);
      return attempt.socket;
    }
    this.#errors.push(systemError(result, 'connect', whereOf(attempt.remote)));
    this.#giveUp(attempt);
    return null;
  }

  #giveUp(attempt: Attempt): void {
    this.#attempts.delete(attempt);
    attempt.watch.stop();
    attempt.socket.close();
  }
}

/** The error when all attempts have failed. */
function failureOf(errors: SystemError[]): Error {
  const [first, ...others] = errors;
  if (first !== undefined && others.length === 0) return first;
  const failure = new AggregateError(errors, errors.map(({ message }) => message).join('; '));
  const isSame = others.every(({ code }) => code === first?.code);
  return isSame && first !== undefined ? Object.assign(failure, { code: first.code }) : failure;
}
