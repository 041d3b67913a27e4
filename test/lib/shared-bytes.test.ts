import { expect, test } from 'vitest';
import { SharedBytes } from '../../src/lib/shared-bytes.ts';

test('bytes are made once while they are kept, the oldest go first, and large ones are not kept', () => {
  const made: number[] = [];
  const shared = new SharedBytes(({ size }: { readonly size: number }) => {
    made.push(size);
    return Buffer.alloc(size);
  }, 100);
  const [first, second, large] = [{ size: 40 }, { size: 50 }, { size: 100_000 }];
  expect(shared.of(first)).toBe(shared.of(first));
  shared.of(second);
  shared.of(large);
  shared.of(large);
  expect(made).toEqual([40, 50, 100_000, 100_000]);
  shared.of({ size: 20 });
  shared.of(second);
  shared.of(first);
  expect(made).toEqual([40, 50, 100_000, 100_000, 20, 40]);
});
