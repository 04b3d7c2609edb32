import { formatBytes, formatCount, formatThings, formatTime } from './format.mts';
import type { Visit } from './visit.mts';

const FAILURES_SHOWN = 5;

export interface Figures {
  /** From the first spawn to the end of the last greenlet, in ms. */
  elapsed: number;
  switches: number;
  /** Resident memory before the first greenlet, in bytes. */
  memoryBefore: number;
  /** What the servers make each page wait, in ms, if that is known. */
  delayOf: ((url: URL) => number) | undefined;
}

/** Prints what the visits came to. */
export function printSummary(visits: Visit[], { elapsed, switches, memoryBefore, delayOf }: Figures): void {
  const bytes = sum(visits.map((visit) => visit.bytes));
  const confirmed = visits.filter((visit) => visit.confirmed).length;
  const peak = process.resourceUsage().maxRSS * 1024;
  // Among a thousand others a page takes longer than alone: where delays are known, durations would flatter us.
  const oneByOne = sum(visits.map(({ url, ms }) => delayOf?.(url) ?? ms));
  const added = delayOf ? "the servers' delays alone" : 'the durations of the pages';
  const comparison = `${added}, added up: ${formatRatio(oneByOne / elapsed)} times as long`;

  console.log();
  row('elapsed', formatTime(elapsed));
  row('one after another', formatTime(oneByOne), comparison);
  row('greenlets', formatCount(visits.length + 1), 'one of them drew the progress');
  row('switches', formatCount(switches), `${(switches / visits.length).toFixed(1)} per page`);
  row('peak memory', formatBytes(peak), `${formatBytes(memoryBefore)} before the first greenlet`);
  row(
    'read',
    formatBytes(bytes),
    confirmed > 0 ? `${formatThings(confirmed, 'page')} confirmed by digest` : '',
  );
  printFailures(visits.filter(({ error }) => error));
}

function printFailures(failed: Visit[]): void {
  row('failures', formatCount(failed.length));
  for (const { url, error } of failed.slice(0, FAILURES_SHOWN))
    console.log(`    ${url.href}: ${reason(error)}`);
  const rest = failed.length - FAILURES_SHOWN;
  if (rest > 0) console.log(`    and ${formatCount(rest)} more`);
}

function row(name: string, figure: string, remark = ''): void {
  console.log(`  ${name.padEnd(18)}  ${figure.padStart(12)}   ${remark}`.trimEnd());
}

function formatRatio(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(1) : formatCount(Math.round(ratio));
}

/** `fetch` only says that it failed; the reason is the cause. */
function reason(error: Error | undefined): string {
  const { message, cause } = error ?? {};
  return cause instanceof Error ? `${message}: ${cause.message}` : `${message}`;
}

function sum(numbers: number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
