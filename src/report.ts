/** How errors that nobody has caught are shown on stderr. */
import { inspect } from 'node:util';

/** The stack trace with causes and own properties; getters of the error's are not called. */
function formatError(error: unknown): string {
  return inspect(error, { depth: 4, getters: false });
}

function describe(who: string, error: unknown): string {
  const what = error instanceof Error ? error.name : typeof error;
  return `${formatError(error)}\n${new Date().toISOString()} ${who} failed with ${what}\n\n`;
}

/**
 * Prints an error with the time and who failed. Never throws, whatever the error or stderr is.
 *
 * @param who - names who failed; called here, because it may run code of a subclass
 */
export function printError(who: () => string, error: unknown): void {
  let text: string;
  try {
    text = describe(who(), error);
  } catch {
    text = 'An error that cannot be shown has ended a greenlet or a callback of the hub.\n\n';
  }
  try {
    process.stderr.write(text);
  } catch {
    // Nobody can be told: whoever replaced stderr has broken it.
  }
}
