/**
 * Greenlets that lack a stack wait for one without keeping the loop busy. Prints the CPU time used meanwhile, in ms, and
 * whether all have run in the end.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { config, getHub, joinAll, run, sleep, spawn } from 'greenstack';

const STACK_SIZE = 256 * 1024 ** 2;
const GREENLETS = 100;

void run(() => {
  let reports = 0;
  getHub().handleError = () => reports++;
  const used = /VmSize:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  const limit = Number(used) * 1024 + 20 * STACK_SIZE;
  execFileSync('prlimit', ['--pid', String(process.pid), `--as=${limit}`]);
  config.stackSize = STACK_SIZE;

  let ended = false;
  let ran = 0;
  const greenlets = Array.from({ length: GREENLETS }, () =>
    spawn(() => {
      while (!ended) sleep(10);
      ran++;
    }),
  );
  sleep(100);
  const before = process.cpuUsage();
  sleep(500);
  const { user, system } = process.cpuUsage(before);
  const lacking = GREENLETS + 1 - getHub().stats().greenlets;
  ended = true;
  joinAll(greenlets);
  console.log(Math.round((user + system) / 1000), lacking > 0, ran === GREENLETS, reports);
});
