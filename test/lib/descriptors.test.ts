import { expect, test } from 'vitest';
import { descriptorsMax } from '../../src/lib/descriptors.ts';

const limits = (soft: string): string =>
  [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max processes             7823                 7823                 processes ',
    `Max open files            ${soft.padEnd(20)} 524288               files     `,
    'Max locked memory         65536                65536                bytes     ',
  ].join('\n');

test('the soft limit counts', () => {
  expect(descriptorsMax(() => limits('1024'))).toBe(1024);
  expect(descriptorsMax(() => limits('unlimited'))).toBe(Infinity);
});

test('where nothing is told, nothing is known', () => {
  expect(descriptorsMax(() => 'Max processes 1 1 processes')).toBeNull();
  expect(
    descriptorsMax(() => {
      throw new Error('no such file');
    }),
  ).toBeNull();
});

test('this process has some', () => {
  expect(descriptorsMax() ?? 1).toBeGreaterThan(0);
});
