/**
 * Downloads several pages at once; each download is a greenlet.
 *
 *     node examples/concurrent-download.mts [URL…]
 */
import { run, spawn, wait, waitFor } from 'greenstack';

const named = process.argv.slice(2);
const urls =
  named.length > 0 ? named : ['https://nodejs.org/', 'https://www.gevent.org/', 'https://www.python.org/'];

/** Nothing here says that other downloads go on meanwhile: waiting parks this greenlet, and the others run. */
function printHead(url: string): void {
  console.log(`starting ${url}`);
  const response = waitFor((signal) => fetch(url, { signal }));
  const text = waitFor(response.text());
  console.log(`${url}: ${text.length} characters: ${JSON.stringify(text.slice(0, 50))}`);
}

await run(() => {
  const downloads = urls.map((url) => spawn(printHead, url));
  wait(downloads);
  // A download that failed has been reported already; the others were not disturbed by it.
  if (downloads.some((download) => !download.successful)) process.exitCode = 1;
});
