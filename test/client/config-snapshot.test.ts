import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ClientClock } from '../../src/client/clock.ts';
import { entryOfDefault, type HeldEntry } from '../../src/client/config-entry.ts';
import { SNAPSHOT_INTERVAL_MS, SnapshotFile } from '../../src/client/config-snapshot.ts';

/** Time that stands still until it is moved. */
class ManualClock implements ClientClock {
  #nowMs = 0;
  readonly #due: { readonly atMs: number; readonly action: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const entry = { atMs: this.#nowMs + delayMs, action };
    this.#due.push(entry);
    return () => void this.#due.splice(this.#due.indexOf(entry), 1);
  }

  move(ms: number): void {
    this.#nowMs += ms;
    for (const entry of this.#due.filter(({ atMs }) => atMs <= this.#nowMs)) {
      this.#due.splice(this.#due.indexOf(entry), 1);
      entry.action();
    }
  }

  get dates(): number {
    return this.#due.length;
  }
}

const scope = { tenant: 'default', environment: 'test', application: 'pay' };
let directory: string;
let path: string;
let clock: ManualClock;
let file: SnapshotFile;
let taken = 0;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'conclave-snapshot-'));
  path = join(directory, 'pay.json');
  clock = new ManualClock();
  taken = 0;
  file = new SnapshotFile({
    path,
    scope,
    clock,
    onProblem: (error) => {
      throw error;
    },
  });
});
afterEach(() => rm(directory, { recursive: true }));

const entry = (key: string, json: number): HeldEntry => entryOfDefault(key, { json, revision: 3 });
function save(value: number): void {
  file.save(() => {
    taken += 1;
    return { revision: value, entries: [entry('a', value)] };
  });
}
const saved = async (): Promise<number> => JSON.parse(await readFile(path, 'utf8')).revision;

test('there is nothing to read before the first writing', async () => {
  expect(await file.read()).toBeNull();
});

test('it is written at once, then once a second at most, with the values of that moment', async () => {
  save(1);
  await file.flush();
  expect(await saved()).toBe(1);
  for (let value = 2; value <= 50; value += 1) save(value);
  expect(clock.dates).toBe(1);
  clock.move(SNAPSHOT_INTERVAL_MS - 1);
  expect(taken).toBe(1);
  clock.move(1);
  expect(taken).toBe(2);
  await file.flush();
  expect(await saved()).toBe(50);
  expect(taken).toBe(2);
  expect(clock.dates).toBe(0);
});

test('a change during a writing is written after it', async () => {
  save(1);
  save(2);
  expect(taken).toBe(1);
  await file.flush();
  expect(await saved()).toBe(2);
  expect(taken).toBe(2);
});

test('it reads back what was written', async () => {
  save(7);
  await file.flush();
  expect(await file.read()).toEqual({
    revision: 7,
    entries: [{ ...entry('a', 7), source: 'snapshot' }],
  });
});
