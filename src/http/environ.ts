/** A request as a record of CGI's and WSGI's names. */
import { inspect } from 'node:util';

import { version } from '../version.js';
import type { HttpRequest } from './request.js';

/** Keys that are shown with their values. */
const SHOWN: ReadonlySet<string> = new Set(['REMOTE_ADDR', 'REMOTE_PORT', 'HTTP_HOST']);

/**
 * The environment of a request: `REQUEST_METHOD`, `PATH_INFO`, `HTTP_…` and so on. When it is shown, by `console.log` for
 * instance, values are masked, since there are passwords and cookies among them. gevent: `gevent.pywsgi.SecureEnviron`.
 */
export class Environ {
  [key: string]: unknown;

  [inspect.custom](): string {
    const shown = Object.entries(this).map(([key, value]) => [key, SHOWN.has(key) ? value : '<MASKED>']);
    return `Environ ${inspect(Object.fromEntries(shown))}`;
  }
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** Makes the environment of a request. */
export function environOf(request: HttpRequest): Environ {
  const { url, headers, remoteAddress, contentLength, scheme } = request;
  const { localAddress, environ } = request._host;
  const query = url.indexOf('?');
  const own = new Environ();
  Object.assign(own, environ, {
    GATEWAY_INTERFACE: 'CGI/1.1',
    SERVER_SOFTWARE: `greenstack/${version}`,
    SERVER_NAME: localAddress.address,
    SERVER_PORT: String(localAddress.port),
    SERVER_PROTOCOL: `HTTP/${request.httpVersion}`,
    REQUEST_SCHEME: scheme,
    REQUEST_METHOD: request.method,
    SCRIPT_NAME: '',
    PATH_INFO: decoded(request.path),
    QUERY_STRING: query < 0 ? '' : url.slice(query + 1),
    REMOTE_ADDR: remoteAddress.address,
    REMOTE_PORT: String(remoteAddress.port),
  });
  own['wsgi.url_scheme'] = scheme;
  if (scheme === 'https') own['HTTPS'] = 'on';
  if (contentLength !== undefined && headers.has('content-length'))
    own['CONTENT_LENGTH'] = String(contentLength);
  for (const [name, value] of headers) {
    // A header with an underscore could pass for one with a hyphen.
    if (name.includes('_') || name === 'content-length') continue;
    const key = name.toUpperCase().replaceAll('-', '_');
    own[name === 'content-type' ? key : `HTTP_${key}`] = value;
  }
  return own;
}
