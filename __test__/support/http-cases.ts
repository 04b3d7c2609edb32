/** What a client may send, and what a server has to say to it: for this server, and to compare others. */
export interface HttpCase {
  /** The section that says so. */
  section: string;
  rule: string;
  /** What is sent, on one connection, which the server closes in the end. */
  input: string;
  /** The statuses of the answers. */
  statuses: number[];
}

const HEAD = 'Host: a\r\n';
const LAST = 'GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';

/** A request of a line and fields, which should be refused: what follows it must not be answered. */
function refused(section: string, rule: string, head: string, status = 400, body = ''): HttpCase {
  return { section, rule, input: `${head}\r\n${body}${LAST}`, statuses: [status] };
}

/** A request that should be answered, and after it another one. */
function accepted(section: string, rule: string, head: string, body = ''): HttpCase {
  return { section, rule, input: `${head}\r\n${body}${LAST}`, statuses: [200, 200] };
}

function fields(lines: string): string {
  return `POST / HTTP/1.1\r\n${HEAD}${lines}`;
}

const CHUNKED = 'Transfer-Encoding: chunked\r\n';

/** A body in chunks that is malformed: the handler reads it. */
function badChunks(rule: string, body: string): HttpCase {
  return refused('RFC 9112, 7.1', rule, fields(CHUNKED), 400, body);
}

export const CASES: readonly HttpCase[] = [
  accepted('RFC 9112, 2.2', 'an empty line before the request is ignored', `\r\nGET / HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 2.2', 'a request line that ends with a bare LF is refused', `GET / HTTP/1.1\n${HEAD}`),
  refused(
    'RFC 9112, 2.2',
    'a field that ends with a bare LF is refused',
    `GET / HTTP/1.1\r\nHost: a\nA: b\r\n`,
  ),
  refused('RFC 9112, 2.2', 'a bare CR in a field is refused', fields('A: b\rC: d\r\n')),
  refused('RFC 9112, 2.2', 'whitespace before the first field is refused', 'GET / HTTP/1.1\r\n Host: a\r\n'),
  refused('RFC 9112, 2.3', 'another major version is 505', `GET / HTTP/2.0\r\n${HEAD}`, 505),
  refused('RFC 9112, 2.3', 'the name of the protocol has a case', `GET / http/1.1\r\n${HEAD}`),
  accepted('RFC 9110, 2.5', 'a later minor version is understood', `GET / HTTP/1.2\r\n${HEAD}`),
  refused('RFC 9112, 3', 'two spaces in the request line are refused', `GET  / HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 3', 'a request line without a version is refused', `GET /\r\n${HEAD}`),
  refused('RFC 9112, 3', 'a method that is no token is refused', `G@T / HTTP/1.1\r\n${HEAD}`),
  refused(
    'RFC 9112, 3',
    'a request line that is too long is 414',
    `GET /${'a'.repeat(9000)} HTTP/1.1\r\n${HEAD}`,
    414,
  ),
  accepted('RFC 9112, 3.2.2', 'a target may be a whole URL', `GET http://a/b?c HTTP/1.1\r\n${HEAD}`),
  accepted('RFC 9112, 3.2.4', 'OPTIONS may be about the server as such', `OPTIONS * HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 3.2.4', 'nothing else may be', `GET * HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 3.2', 'a target without a slash is refused', `GET a HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 3.2', 'a target with a fragment is refused', `GET /a#b HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 3.2', 'a target that is not ASCII is refused', `GET /\xe4 HTTP/1.1\r\n${HEAD}`),
  refused('RFC 9112, 3.2', 'HTTP/1.1 needs a Host', 'GET / HTTP/1.1\r\n'),
  refused('RFC 9112, 3.2', 'two Hosts are refused', `GET / HTTP/1.1\r\n${HEAD}${HEAD}`),
  refused('RFC 9112, 3.2', 'a Host that is malformed is refused', 'GET / HTTP/1.1\r\nHost: a/b\r\n'),
  refused('RFC 9110, 9.3.6', 'CONNECT is 501', `CONNECT a:443 HTTP/1.1\r\n${HEAD}`, 501),
  refused('RFC 9112, 5.1', 'whitespace before a colon is refused', fields('A : b\r\n')),
  refused('RFC 9112, 5.2', 'folded lines are refused', fields('A: b\r\n c\r\n')),
  refused('RFC 9110, 5.1', 'an empty name is refused', fields(': b\r\n')),
  refused('RFC 9110, 5.1', 'a name that is no token is refused', fields('A(b): c\r\n')),
  refused('RFC 9110, 5.5', 'NUL in a value is refused', fields('A: b\0c\r\n')),
  refused('RFC 6585, 5', 'too many fields are 431', fields('A: b\r\n'.repeat(200)), 431),
  refused('RFC 6585, 5', 'a head that is too long is 431', fields(`A: ${'b'.repeat(40_000)}\r\n`), 431),
  refused(
    'RFC 9112, 6.1',
    'a Transfer-Encoding and a Content-Length are refused',
    fields(`Content-Length: 5\r\n${CHUNKED}`),
    400,
    '0\r\n\r\n',
  ),
  refused(
    'RFC 9112, 6.1',
    'a Transfer-Encoding of HTTP/1.0 is refused',
    `POST / HTTP/1.0\r\n${HEAD}${CHUNKED}`,
    400,
    '0\r\n\r\n',
  ),
  refused(
    'RFC 9112, 6.1',
    'an unknown transfer coding is 501',
    fields('Transfer-Encoding: gzip, chunked\r\n'),
    501,
    '0\r\n\r\n',
  ),
  refused(
    'RFC 9112, 6.3',
    'chunked has to be the last coding',
    fields('Transfer-Encoding: chunked, gzip\r\n'),
    400,
    '0\r\n\r\n',
  ),
  refused('RFC 9112, 6.3', 'chunked twice is refused', fields(`${CHUNKED}${CHUNKED}`), 400, '0\r\n\r\n'),
  refused(
    'RFC 9112, 6.3',
    'chunked after a vertical tab is refused',
    fields('Transfer-Encoding: \x0bchunked\r\n'),
    400,
    '0\r\n\r\n',
  ),
  refused(
    'RFC 9112, 6.3',
    'two lengths are refused',
    fields('Content-Length: 5\r\nContent-Length: 6\r\n'),
    400,
    'hello',
  ),
  refused('RFC 9112, 6.3', 'a list of lengths is refused', fields('Content-Length: 5, 5\r\n'), 400, 'hello'),
  refused('RFC 9112, 6.3', 'a negative length is refused', fields('Content-Length: -5\r\n')),
  refused('RFC 9112, 6.3', 'a length with a sign is refused', fields('Content-Length: +5\r\n'), 400, 'hello'),
  refused(
    'RFC 9112, 6.3',
    'a length in hexadecimal is refused',
    fields('Content-Length: 0x5\r\n'),
    400,
    'hello',
  ),
  refused(
    'RFC 9112, 6.3',
    'a length that overflows is refused',
    fields('Content-Length: 18446744073709551621\r\n'),
    400,
    'hello',
  ),
  refused('RFC 9110, 15.5.14', 'a body that is too long is 413', fields('Content-Length: 99999999\r\n'), 413),
  accepted('RFC 9112, 6.3', 'a body of a known length is read', fields('Content-Length: 5\r\n'), 'hello'),
  accepted('RFC 9112, 7.1', 'a body in chunks is read', fields(CHUNKED), '5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n'),
  accepted(
    'RFC 9112, 7.1.1',
    'chunk extensions are ignored',
    fields(CHUNKED),
    '5;a=b;c="d"\r\nhello\r\n0;e\r\n\r\n',
  ),
  accepted('RFC 9112, 7.1.2', 'trailer fields are read', fields(CHUNKED), '5\r\nhello\r\n0\r\nA: b\r\n\r\n'),
  badChunks('a chunk size that is no number is refused', 'x\r\nhello\r\n0\r\n\r\n'),
  badChunks('a negative chunk size is refused', '-5\r\nhello\r\n0\r\n\r\n'),
  badChunks('a chunk size with 0x is refused', '0x5\r\nhello\r\n0\r\n\r\n'),
  badChunks('a chunk size that overflows is refused', '10000000000000005\r\nhello\r\n0\r\n\r\n'),
  badChunks('a chunk size that ends with a bare LF is refused', '5\nhello\r\n0\r\n\r\n'),
  badChunks('a chunk that is longer than its size is refused', '4\r\nhello\r\n0\r\n\r\n'),
  badChunks('a chunk that ends with a bare LF is refused', '5\r\nhello\n0\r\n\r\n'),
  badChunks('a trailer field that is malformed is refused', '0\r\nA b\r\n\r\n'),
  refused(
    'RFC 9110, 10.1.1',
    'an unknown expectation is 417',
    fields('Expect: miracles\r\nContent-Length: 0\r\n'),
    417,
  ),
];
