import { GreenletExit, withTimeout } from 'greenstack';
import type { Resolver } from 'greenstack/dns';
import { checkPage, fetchPage, readPage } from './read-page.mts';

/** The longest that one page may take, in ms: some real hosts never answer. */
const PAGE_LIMIT = 30_000;

/** One page, from the look-up of its name to its last byte. */
export interface Visit {
  url: URL;
  ms: number;
  bytes: number;
  /** Whether a digest sent with the page has confirmed its content. */
  confirmed: boolean;
  error?: Error;
}

/** Reads and checks one page. Whatever goes wrong with it is part of the result. Switches. */
export function visit(url: URL, resolver: Resolver): Visit {
  const start = performance.now();
  const ms = () => performance.now() - start;
  try {
    const read = () => (url.protocol === 'https:' ? fetchPage(url) : readPage(url, resolver));
    const page = withTimeout(PAGE_LIMIT, read);
    const confirmed = checkPage(page);
    return { url, ms: ms(), bytes: page.body.length, confirmed };
  } catch (error) {
    if (GreenletExit.is(error)) throw error;
    return { url, ms: ms(), bytes: 0, confirmed: false, error: error as Error };
  }
}
