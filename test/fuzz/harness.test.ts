import { expect, test } from 'vitest';
import { MalformedError } from '../../src/lib/packed.ts';
import { fuzz, type Target } from './fuzz.ts';

/** That a broken decoder is noticed. Each of these breaks one rule, for some inputs only. */

const OPTIONS = { seed: 1, rounds: 500 };

/** One byte of length, then so many bytes. */
const good: Target<Buffer> = {
  name: 'good',
  seeds: [Buffer.of(3, 1, 2, 3), Buffer.of(0)],
  decode(bytes) {
    const length = bytes[0] ?? 0;
    if (bytes.length !== 1 + length) throw new MalformedError('of another length');
    return Buffer.from(bytes.subarray(1));
  },
  allows: (error) => error instanceof MalformedError,
  encode: (value) => Buffer.concat([Buffer.of(value.length), value]),
};

test('a decoder that keeps the rules passes, and both kinds of input are there', async () => {
  const { executions, accepted } = await fuzz(good, OPTIONS);
  expect(executions).toBe(OPTIONS.rounds + 2);
  expect(accepted).toBeGreaterThan(20);
  expect(accepted).toBeLessThan(400);
});

test('the same seed gives the same inputs, another seed others', async () => {
  const inputs = async (seed: number): Promise<string> => {
    const seen: string[] = [];
    const decode = (bytes: Buffer): Buffer => {
      seen.push(bytes.toString('hex'));
      return bytes;
    };
    await fuzz({ ...good, decode, encode: (value) => value }, { seed, rounds: 60 });
    return seen.join();
  };
  expect(await inputs(5)).toBe(await inputs(5));
  expect(await inputs(5)).not.toBe(await inputs(6));
});

test.each<[string, Partial<Target<Buffer>>, RegExp]>([
  [
    'an error of another kind',
    {
      decode(bytes) {
        if (bytes[0] === 0xff) throw new TypeError('oops');
        return good.decode(bytes) as Buffer;
      },
    },
    /good failed otherwise than by its own error: TypeError: oops\ninput of \d+ bytes: ff/,
  ],
  [
    'memory by an announced length',
    {
      decode(bytes) {
        if (bytes.length >= 4) Buffer.alloc(bytes.readUInt32BE(0));
        return good.decode(bytes) as Buffer;
      },
    },
    /good allocated \d+ bytes|a decoder asked for/,
  ],
  [
    'an input that takes long',
    {
      timeMsMax: 25,
      decode(bytes) {
        const untilMs = performance.now() + (bytes[0] === 0xff ? 30 : 0);
        while (performance.now() < untilMs);
        return good.decode(bytes) as Buffer;
      },
    },
    /good took \d+ ms\ninput of \d+ bytes: ff/,
  ],
  [
    'a value that comes back as another',
    { encode: (value) => Buffer.concat([Buffer.of(value.length), Buffer.alloc(value.length)]) },
    /good accepted what does not come back the same/,
  ],
  [
    'a refused seed',
    {
      decode() {
        throw new MalformedError('never');
      },
    },
    /good failed otherwise/,
  ],
])('%s is noticed', async (_, change, message) => {
  await expect(fuzz({ ...good, ...change }, OPTIONS)).rejects.toThrow(message);
});
