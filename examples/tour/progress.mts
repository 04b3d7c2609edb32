import { sleep } from 'greenstack';
import { formatCount, formatThings, formatTime } from './format.mts';

const BAR_WIDTH = 40;
const FRAME_MS = 40;

/**
 * Shows how far `finished()` has come until it reaches `total`: one more greenlet that prints and sleeps.
 *
 * On a terminal it is a bar that moves; elsewhere a line for each quarter.
 */
export function showProgress(total: number, finished: () => number): void {
  const draw = process.stdout.isTTY ? drawBar : printQuarters();
  const start = performance.now();
  let count;
  do {
    count = finished();
    draw(count, total, performance.now() - start);
    sleep(FRAME_MS);
  } while (count < total);
}

function drawBar(count: number, total: number, ms: number): void {
  const filled = Math.floor((BAR_WIDTH * count) / total);
  const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
  const end = count === total ? '\n' : '';
  process.stdout.write(`\r  ${bar}  ${pages(count, total)}  ${formatTime(ms)}\x1b[K${end}`);
}

function printQuarters(): typeof drawBar {
  let printed = -1;
  return (count, total, ms) => {
    const quarter = Math.floor((4 * count) / total);
    if (quarter > printed) process.stdout.write(`  ${pages(count, total)}  ${formatTime(ms)}\n`);
    printed = quarter;
  };
}

function pages(count: number, total: number): string {
  return `${formatCount(count).padStart(formatCount(total).length)} of ${formatThings(total, 'page')}`;
}
