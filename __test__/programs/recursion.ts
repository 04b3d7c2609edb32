import { run } from 'greenstack';

/** How deep plain recursion goes before the stack overflows. */
function depth(): number {
  try {
    return 1 + depth();
  } catch {
    return 1;
  }
}

const main = depth();
void run(() => console.log(JSON.stringify({ main, greenlet: depth() })));
