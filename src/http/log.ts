/** The access log. */
import type { SocketAddress } from '../socket-address.js';
import { describe } from '../checks.js';

/** One request in the access log. */
export interface AccessLogEntry {
  remoteAddress: SocketAddress;
  /** When it was taken. */
  time: Date;
  /** The request line; of a refused request as much of it as came, perhaps nothing. */
  line: string;
  status: number;
  /** Of the body of the response. */
  bytes: number;
  /** From the request to the end of the response, in ms. */
  duration: number;
  referer: string;
  userAgent: string;
}

/** Where the access log goes: `true` for lines on stdout, something with `write` for lines, a function for entries; `false`: off. */
export type AccessLog = boolean | { write(line: string): unknown } | ((entry: AccessLogEntry) => void);

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function two(number: number): string {
  return String(number).padStart(2, '0');
}

function timeOf(time: Date): string {
  const day = `${two(time.getUTCDate())}/${MONTHS[time.getUTCMonth()]}/${time.getUTCFullYear()}`;
  return `[${day}:${two(time.getUTCHours())}:${two(time.getUTCMinutes())}:${two(time.getUTCSeconds())} +0000]`;
}

/** What a client has sent, such that it cannot pass for another line or field. */
function quoted(text: string): string {
  if (text === '') return '"-"';
  return `"${text.replace(/["\\]|[^\x20-\x7e]/g, (one) => (one === '"' || one === '\\' ? `\\${one}` : `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`))}"`;
}

/** An entry in the combined log format, with a line break. */
export function combined({
  remoteAddress,
  time,
  line,
  status,
  bytes,
  referer,
  userAgent,
}: AccessLogEntry): string {
  const host = remoteAddress.address || '-';
  return `${host} - - ${timeOf(time)} ${quoted(line)} ${status} ${bytes || '-'} ${quoted(referer)} ${quoted(userAgent)}\n`;
}

/** A function that takes entries; `null` if the log is off. */
export function accessLogOf(
  call: string,
  log: AccessLog | undefined,
): ((entry: AccessLogEntry) => void) | null {
  if (log === undefined || log === false) return null;
  if (log === true) return (entry) => process.stdout.write(combined(entry));
  if (typeof log === 'function') return log;
  if (typeof log === 'object' && log !== null && typeof log.write === 'function')
    return (entry) => log.write(combined(entry));
  throw new TypeError(
    `${call}: log must be true, false, a function or an object with write(), got ${describe(log)}`,
  );
}
