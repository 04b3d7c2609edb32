/** The results as text: a heading, and one table for each Node version. */
import { higherIsBetter } from './operations.mjs';

/**
 * @typedef {import('./operations.mjs').Unit} Unit
 * @typedef {{ samples: number[], best: number, median: number }} Figure
 * @typedef {{ asks: string, met: boolean }} Verdict
 * @typedef {object} Row
 * @property {string} title
 * @property {Unit} unit
 * @property {Record<string, Figure | undefined>} figures - by contender
 * @property {Record<string, number>} ratios - how many times better greenstack is, by peer
 * @property {Verdict[]} verdicts
 */

const names = /** @type {Record<string, string>} */ ({
  greenstack: 'greenstack',
  gevent: 'gevent',
  go: 'Go',
  fibers: 'fibers',
  node: 'Node',
  fastify: 'Fastify',
  bun: 'Bun',
  hyper: 'hyper',
  synckit: 'synckit',
});

/** @param {Row[]} rows  @returns {string} */
export function table(rows) {
  const contenders = Object.keys(names).filter((name) => rows.some((row) => row.figures[name]));
  const peers = contenders.filter((name) => rows.some((row) => name in row.ratios));
  const lines = [
    [
      'best (median)',
      'unit',
      ...contenders.map((name) => names[name]),
      ...peers.map((name) => `× ${names[name]}`),
      'target',
    ],
    ...rows.map((row) => [
      row.title,
      row.unit,
      ...contenders.map((name) => cell(row.figures[name], row.unit)),
      ...peers.map((name) => (name in row.ratios ? row.ratios[name].toFixed(2) : '')),
      row.verdicts.map(({ asks, met }) => `${met ? 'met' : 'NOT MET'}: ${asks}`).join('; '),
    ]),
  ];
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const isText = (/** @type {number} */ column) => column < 2 || column === widths.length - 1;
  const text = lines.map((line) =>
    line
      .map((field, column) =>
        isText(column) ? field.padEnd(widths[column]) : field.padStart(widths[column]),
      )
      .join('  ')
      .trimEnd(),
  );
  return [text[0], '-'.repeat(Math.max(...text.map((line) => line.length))), ...text.slice(1)].join('\n');
}

/**
 * @param {number[]} samples
 * @param {Unit} unit
 * @returns {Figure}
 */
export function figure(samples, unit) {
  const sorted = samples.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return {
    samples,
    best: higherIsBetter(unit) ? sorted[sorted.length - 1] : sorted[0],
    median: sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
  };
}

/**
 * @param {Figure | undefined} figure
 * @param {Unit} unit
 * @returns {string}
 */
function cell(figure, unit) {
  return figure ? `${number(figure.best, unit)} (${number(figure.median, unit)})` : '';
}

/**
 * @param {number} value
 * @param {Unit} unit
 * @returns {string}
 */
function number(value, unit) {
  if (unit === 'MB' || unit === 'MB/s') return (value / 1e6).toFixed(1);
  const digits = Math.abs(value) < 100 ? 1 : 0;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
