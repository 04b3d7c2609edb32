/** What gevent has for processes that fork. A running V8 cannot, so these only say what to do instead. */
import { constants } from 'node:os';

function cannot(call: string): Error {
  const message =
    `${call}: a process that runs JavaScript cannot be forked. Start another one with fork() of node:child_process, ` +
    'or several that share a port with node:cluster.';
  return Object.assign(new Error(message), {
    code: 'ENOSYS',
    errno: -constants.errno.ENOSYS,
    syscall: 'fork',
  });
}

/** Throws `ENOSYS`, with the advice what to use. Never switches. gevent: `gevent.fork`. */
export function fork(): never {
  throw cannot('fork()');
}

/** Throws `ENOSYS`: there is no fork after which the hub could be made anew. Never switches. gevent: `gevent.reinit`. */
export function reinit(): never {
  throw cannot('reinit()');
}
