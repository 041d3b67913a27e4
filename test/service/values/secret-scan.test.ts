import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Json } from '../../../src/service/model.ts';
import { SUSPICIONS_MAX, suspectedSecrets } from '../../../src/service/values/secret-scan.ts';
import { json, text } from './arbitraries.ts';

const rulesOf = (key: string, value: Json): readonly string[] =>
  suspectedSecrets(key, value).map(({ rule }) => rule);
/** Put together here, so that scanners of this repository have nothing to find. */
const token = (prefix: string, length: number): string =>
  `${prefix}${'a1B2c3D4e5F6g7H8'.repeat(8).slice(0, length)}`;

describe('a secret in the clear is suspected', () => {
  test.each([
    ['notes', `-----BEGIN ${'RSA '}PRIVATE KEY-----\nabc`, 'private-key'],
    ['notes', `x\n-----BEGIN ${'OPENSSH '}PRIVATE KEY-----`, 'private-key'],
    ['notes', `${'A'}KIAABCDEFGHIJKLMNOP`, 'token'],
    ['notes', token('gh' + 'p_', 36), 'token'],
    ['notes', token('glpat' + '-', 20), 'token'],
    ['notes', token('xox' + 'b-', 24), 'token'],
    ['notes', token('sk_' + 'live_', 24), 'token'],
    ['notes', token('AI' + 'za', 35), 'token'],
    ['notes', token('npm' + '_', 36), 'token'],
    ['notes', `${token('eyJ', 20)}.${token('eyJ', 20)}.${token('', 20)}`, 'token'],
    ['headers', `Authorization: Bearer ${token('', 30)}`, 'token'],
    ['db.url', 'postgres://app:hunter2@db:5432/app', 'url-password'],
    ['db.urls', 'redis://:hunter2@cache', 'url-password'],
    ['db.password', 'hunter2-hunter3', 'named-secret'],
    ['dbPassword', 'Tr0ub4dor', 'named-secret'],
    ['PAY_API_KEY', 'f3b1c2a4d5e6', 'named-secret'],
    ['auth.client-secret', 'f3b1c2a4d5e6', 'named-secret'],
  ])('%s: %#', (key, value, rule) => {
    expect(rulesOf(key, value)).toEqual([rule]);
    expect(rulesOf(key, `${value}`)).toEqual([rule]);
  });

  test('inside of JSON, by the names of members, with its place', () => {
    const value = { db: [{ 'a/b': 'x', password: 'hunter2-hunter3' }], tokens: ['x'] };
    expect(suspectedSecrets('settings', value)).toEqual([
      { pointer: '/db/0/password', rule: 'named-secret', message: 'looks like a secret, by its name' },
    ]);
    expect(rulesOf('api.token', ['f3b1c2a4d5e6'])).toEqual(['named-secret']);
  });
});

describe('no secret is suspected', () => {
  test.each<[string, Json]>([
    ['password.policy', 'strict'],
    ['password.min', 12],
    ['token.ttl', '15m'],
    ['token.url', 'https://login.example.com/oauth2/Token'],
    ['secret.path', '/run/secrets/db-1'],
    ['db.password', '${db.password.source}'],
    ['db.password', '********'],
    ['db.password', '<Your-Password-1>'],
    ['db.password', ''],
    ['db.password', true],
    ['db.password', null],
    ['keyboard', 'f3b1c2a4d5e6'],
    ['tokenizer', 'f3b1c2a4d5e6'],
    ['build.commit', 'f3b1c2a4d5e6f3b1c2a4d5e6f3b1c2a4d5e6f3b1'],
    ['db.url', 'postgres://db:5432/app'],
    ['db.url', 'postgres://app:${password}@db/app'],
    ['db.url', 'https://example.com/a:b@c'],
    ['cert', '-----BEGIN CERTIFICATE-----'],
  ])('%s: %o', (key, value) => {
    expect(rulesOf(key, value)).toEqual([]);
  });
});

describe('a finding', () => {
  test('never holds the value', () => {
    const secrets = fc.stringMatching(/^[a-zA-Z0-9]{12,30}$/);
    fc.assert(
      fc.property(secrets, (secret) => {
        const value = {
          password: secret,
          url: `https://me:${secret}@x`,
          more: [`Bearer ${secret}${secret}`],
        };
        const found = suspectedSecrets('token', value);
        expect(found.length).toBeGreaterThan(0);
        expect(JSON.stringify(found)).not.toContain(secret);
      }),
    );
  });

  test('comes of any value, at once', () => {
    fc.assert(
      fc.property(text(), json, (key, value) => {
        expect(suspectedSecrets(key, value).length).toBeLessThanOrEqual(SUSPICIONS_MAX);
      }),
    );
  });

  test('is found in long values without looking at all of them again and again', () => {
    const pieces = ['a', 'a:', '://', 'a://a:', 'eyJ', 'eyJa.', '-----BEGIN A', ' ', 'Bearer ', 'aA1!', '@'];
    for (const piece of pieces) {
      const long = piece.repeat(500_000 / piece.length);
      expect(rulesOf('password', long).length).toBeLessThanOrEqual(1);
      expect(rulesOf('password', `${long}\n-----BEGIN ${'EC '}PRIVATE KEY-----`)).toEqual(['private-key']);
    }
    expect(
      rulesOf(
        'x',
        Array.from({ length: 10_000 }, () => 'redis://:hunter2@cache'),
      ),
    ).toHaveLength(SUSPICIONS_MAX);
  });
});
