import { expect, test } from 'vitest';
import { STREAM_WATCH_ID } from '../../src/core/watch/delivery.ts';
import { StoreError } from '../../src/lib/errors.ts';
import type { Instant } from '../../src/member/freshness.ts';
import { WatchProofs } from '../../src/member/watch-proofs.ts';
import { RecordingSink, WatchHarness, watch } from '../core/watch/fixture.ts';
import { ManualClock } from './manual-clock.ts';

/** Fewer than the default: the configured ones count. */
const NONCES_MAX = 3;
const PROOF: Instant = { nowMs: 0, uptimeMs: 0 };

/** A stream of watches on `k`, with proofs that the test ends. */
class Fixture {
  readonly clock = new ManualClock();
  readonly sink = new RecordingSink();
  readonly stream = new WatchHarness().hub.open(this.sink);
  readonly abort = new AbortController();
  proof: Instant | null = PROOF;
  demands = 0;
  readonly proving: { resolve: () => void; reject: (error: StoreError) => void }[] = [];
  readonly #proofs = new WatchProofs({
    clock: this.clock,
    stream: this.stream,
    noncesMax: NONCES_MAX,
    signal: this.abort.signal,
    freshness: this.#freshness(),
    reads: {
      linearizable: () => new Promise((resolve, reject) => this.proving.push({ resolve, reject })),
    },
  });

  constructor(...watchIds: readonly bigint[]) {
    for (const watchId of watchIds) this.stream.create(watch(watchId, 'k'));
  }

  ask(nonce: number, options: { readonly watchId?: bigint; readonly linearizable?: boolean } = {}): void {
    const { watchId = 1n, linearizable = false } = options;
    this.#proofs.request({ watchId, nonce: BigInt(nonce), linearizable });
  }

  /** The nonces that were answered since the last call. */
  take(): number[] {
    return this.sink.deliveries
      .splice(0)
      .map((delivery) => (delivery.type === 'progress' ? Number(delivery.nonce) : -1));
  }

  #freshness(): ConstructorParameters<typeof WatchProofs>[0]['freshness'] {
    const of = (): Instant | null => this.proof;
    return {
      get proof() {
        return of();
      },
      demand: () => {
        this.demands += 1;
      },
    };
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test('what is proven needs no round, but is asked to stay fresh', () => {
  const fixture = new Fixture(1n);
  fixture.ask(5);
  fixture.ask(6, { watchId: STREAM_WATCH_ID });
  expect(fixture.take()).toEqual([5, 6]);
  expect(fixture.proving).toHaveLength(0);
  expect(fixture.demands).toBe(2);
});

test('a watch that is not there is asked for nothing', () => {
  const fixture = new Fixture();
  fixture.ask(5, { linearizable: true });
  expect(fixture.proving).toHaveLength(0);
  expect(fixture.demands).toBe(0);
});

test('the first answer waits until an age is proven', async () => {
  const fixture = new Fixture(1n);
  fixture.proof = null;
  fixture.ask(5);
  expect(fixture.take()).toEqual([]);
  fixture.proving[0]!.resolve();
  await settled();
  expect(fixture.take()).toEqual([5]);
});

test('requests that come during a proof share the next one, however many', async () => {
  const fixture = new Fixture(1n, 2n);
  fixture.ask(1, { linearizable: true });
  for (let nonce = 2; nonce < 40; nonce += 1) {
    fixture.ask(nonce, { linearizable: true, watchId: nonce % 2 === 0 ? 1n : 2n });
  }
  expect(fixture.proving).toHaveLength(1);
  fixture.proving[0]!.resolve();
  await settled();
  expect(fixture.take()).toEqual([1]);
  expect(fixture.proving).toHaveLength(2);
  fixture.proving[1]!.resolve();
  await settled();
  // The latest three of each watch.
  expect(fixture.take()).toEqual([34, 36, 38, 35, 37, 39]);
  expect(fixture.proving).toHaveLength(2);
});

test('a proof that fails is tried again after a while, with what came meanwhile', async () => {
  const fixture = new Fixture(1n);
  fixture.ask(1, { linearizable: true });
  fixture.proving[0]!.reject(new StoreError('timeout'));
  await settled();
  fixture.ask(2, { linearizable: true });
  expect(fixture.proving).toHaveLength(1);
  fixture.clock.advance(100);
  await settled();
  expect(fixture.proving).toHaveLength(2);
  fixture.proving[1]!.resolve();
  await settled();
  expect(fixture.take()).toEqual([1, 2]);
});

test('nothing is tried or told once the stream is over', async () => {
  const fixture = new Fixture(1n);
  fixture.ask(1, { linearizable: true });
  fixture.stream.close();
  fixture.proving[0]!.resolve();
  await settled();
  const failing = new Fixture(1n);
  failing.ask(1, { linearizable: true });
  failing.abort.abort();
  failing.proving[0]!.reject(new StoreError('canceled'));
  await settled();
  failing.clock.advance(100);
  await settled();
  expect([fixture.take(), failing.take(), fixture.proving.length, failing.proving.length]).toEqual([
    [],
    [],
    1,
    1,
  ]);
});
