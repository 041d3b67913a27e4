import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { type CpuProfile, fold } from '../../bench/profile/fold.ts';
import { delayAt, type LoopDelay } from '../../bench/profile/loop-delay.ts';
import { eventually } from '../support/eventually.ts';
import { repositoryRoot } from '../support/repository-root.ts';

const PROBE = pathToFileURL(join(repositoryRoot(), 'dist/bench/profile/probe.js')).href;
const BLOCKED_MS = 60;
/** Says when it has heard a signal; blocks its loop over and over. */
const PROGRAM = `
  process.on('SIGUSR2', () => console.log('heard'));
  setInterval(() => {
    for (const end = performance.now() + ${BLOCKED_MS}; performance.now() < end; );
    console.log('blocked');
  }, 5);
  console.log('ready');
`;

test('two signals give a profile of what ran between them, and how late its timers came', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'probe-'));
  const target = join(directory, 'member');
  const child = spawn(process.execPath, ['--import', PROBE, '--eval', PROGRAM], {
    env: { ...process.env, BENCH_PROBE: target },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const until = async (wanted: string): Promise<void> => {
      for (;;) {
        const { value, done } = await lines.next();
        if (done === true) throw new Error('the program ended');
        if (value === wanted) return;
      }
    };
    await until('ready');
    child.kill('SIGUSR2');
    await until('heard');
    for (let times = 0; times < 5; times++) await until('blocked');
    child.kill('SIGUSR2');

    const delay = await eventually(
      'the profile',
      async () => JSON.parse(await readFile(`${target}.delay.json`, 'utf8')) as LoopDelay,
    );
    expect(delay.count).toBeGreaterThan(0);
    expect(delay.maxMs).toBeGreaterThan(BLOCKED_MS / 2);
    expect(delayAt(delay, 100)).toBeCloseTo(delay.maxMs, 0);
    const profile = JSON.parse(await readFile(`${target}.cpuprofile`, 'utf8')) as CpuProfile;
    // Not asked of a function by its name: the compiler may have made it part of its caller.
    expect(fold(profile, '').root.totalUs).toBeGreaterThan(BLOCKED_MS * 1000);
  } finally {
    child.kill('SIGKILL');
    await exited;
    await rm(directory, { recursive: true, force: true });
  }
});
