import { expect, test } from 'vitest';
import { compareVersions, parseVersion } from '../../src/evaluation/semantic-version.ts';

/** Section 11 of the specification, and what lies around it. */
const ASCENDING = [
  '0.0.1',
  '0.9.9',
  '1.0.0-1',
  '1.0.0-9',
  '1.0.0-10',
  '1.0.0-alpha',
  '1.0.0-alpha.1',
  '1.0.0-alpha.beta',
  '1.0.0-beta',
  '1.0.0-beta.2',
  '1.0.0-beta.11',
  '1.0.0-rc.1',
  '1.0.0',
  '1.0.1',
  '1.2',
  '1.10.0',
  'v2',
  '10.0.0',
  '99999999999.0.0',
];

test('versions stand in the order of the specification', () => {
  const versions = ASCENDING.map((text) => parseVersion(text)!);
  versions.forEach((left, i) => {
    versions.forEach((right, j) => expect(Math.sign(compareVersions(left, right))).toBe(Math.sign(i - j)));
  });
});

test('builds do not count', () => {
  expect(compareVersions(parseVersion('1.0.0+a')!, parseVersion('1.0.0+b.2')!)).toBe(0);
});

test.each([
  '',
  'x',
  '1.2.3.4',
  '01.2.3',
  '1.2.3-',
  '1.2.3-01',
  '1.2.3-a..b',
  '1.2.3+',
  '1.2-rc',
  '1.2.3 ',
  '-1.0.0',
  '99999999999999999.0.0',
  `1.0.0-${'a'.repeat(300)}`,
])('%j is no version', (text) => {
  expect(parseVersion(text)).toBe(null);
});
