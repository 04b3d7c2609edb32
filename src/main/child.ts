/** Runs Node with options, in the place of this process. */
import { spawn } from 'node:child_process';
import { isatty } from 'node:tty';

/** Those that a parent may get alone. SIGINT and SIGQUIT come from a terminal, which sends them to the child as well. */
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGCONT', 'SIGWINCH'];
const OF_TERMINAL: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

/** Runs Node with these arguments, forwards signals to it, and ends as it ends. */
export function replaceBy(args: readonly string[]): void {
  const child = spawn(process.execPath, args, { stdio: 'inherit' });
  const listeners = new Map<NodeJS.Signals, () => void>();
  for (const signal of FORWARDED) listeners.set(signal, () => child.kill(signal));
  for (const signal of OF_TERMINAL) {
    listeners.set(signal, () => {
      if (!isatty(0)) child.kill(signal);
    });
  }
  for (const [signal, listener] of listeners) process.on(signal, listener);
  child.on('error', (error) => {
    throw error;
  });
  child.on('exit', (code, signal) => {
    for (const [name, listener] of listeners) process.removeListener(name, listener);
    if (signal === null) process.exitCode = code ?? 1;
    else process.kill(process.pid, signal);
  });
}
