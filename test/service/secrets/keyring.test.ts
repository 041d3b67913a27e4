import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SealedValue } from '../../../src/service/model.ts';
import { KEY_FILE_BYTES_MAX, KEYS_MAX, Keyring, readKeyring } from '../../../src/service/secrets/keyring.ts';
import { ServiceError } from '../../../src/service/service-error.ts';
import { json } from '../values/arbitraries.ts';

const ID = '00000000-0000-8000-8000-000000000001';
const line = (id: string, bytes = randomBytes(32)): string => `${id}:${bytes.toString('base64')}`;
const ring = Keyring.parse(line('k1'));

describe('a keyring', () => {
  test('opens what it sealed', () => {
    fc.assert(
      fc.property(json, fc.string(), (value, id) => {
        expect(ring.open(ring.seal(value, id), id)).toEqual(value);
      }),
    );
  });

  test('seals the same secret differently each time, and shows nothing of it', () => {
    const seals = Array.from({ length: 100 }, () => ring.seal('swordfish', ID));
    expect(new Set(seals.map(({ nonce }) => nonce)).size).toBe(100);
    expect(new Set(seals.map(({ text }) => text)).size).toBe(100);
    for (const { text } of seals) expect(Buffer.from(text, 'base64').includes('sword')).toBe(false);
    expect(Object.keys(seals[0]!)).toEqual(['sealed', 'keyId', 'nonce', 'text']);
  });

  test('opens nothing that was sealed for another configuration', () => {
    const sealed = ring.seal('x', ID);
    expect(() => ring.open(sealed, `${ID}0`)).toThrow(ServiceError);
  });

  test('opens nothing of which one bit was changed', () => {
    const sealed = ring.seal({ a: 'secret' }, ID);
    const flipped = (base64: string, bit: number): string => {
      const bytes = Buffer.from(base64, 'base64');
      bytes[Math.floor(bit / 8) % bytes.length]! ^= 1 << (bit % 8);
      return bytes.toString('base64');
    };
    fc.assert(
      fc.property(fc.constantFrom('text' as const, 'nonce' as const), fc.nat(10_000), (part, bit) => {
        expect(() => ring.open({ ...sealed, [part]: flipped(sealed[part], bit) }, ID)).toThrow(ServiceError);
      }),
    );
  });

  test.each([
    [{ text: '' }],
    [{ text: 'AAAA' }],
    [{ nonce: '' }],
    [{ nonce: 'AAAA' }],
    [{ text: '!' }],
    [{ keyId: '__proto__' }],
    [{ keyId: 'k2' }],
  ])('refuses %o', (change: Partial<SealedValue>) => {
    const failure = thrownBy(() => ring.open({ ...ring.seal(1, ID), ...change }, ID));
    expect(failure).toBeInstanceOf(ServiceError);
    expect((failure as ServiceError).code).toBe('unavailable');
  });

  test('no shorter tag is taken for a whole one', () => {
    const sealed = ring.seal('x', ID);
    const text = Buffer.from(sealed.text, 'base64').subarray(0, -12).toString('base64');
    expect(() => ring.open({ ...sealed, text }, ID)).toThrow(ServiceError);
  });

  test('shows no key when it is printed', () => {
    const secret = randomBytes(32);
    const printed = Keyring.parse(line('k', secret));
    for (const text of [inspect(printed, { depth: 9, showHidden: true }), JSON.stringify(printed)]) {
      expect(text).not.toContain(secret.toString('base64').slice(0, 10));
      expect(text).not.toContain(secret.toString('hex').slice(0, 10));
    }
  });
});

describe('rotation', () => {
  const [old, fresh] = [line('2025'), line('2026')];

  test('the first key seals, the others open what they sealed', () => {
    const before = Keyring.parse(old);
    const after = Keyring.parse(`# keys\n${fresh}\r\n\n${old}\n`);
    const sealed = before.seal('x', ID);
    expect(after.open(sealed, ID)).toBe('x');
    expect([after.keyId, after.needsResealing(sealed)]).toEqual(['2026', true]);
    const again = after.seal(after.open(sealed, ID), ID);
    expect([again.keyId, after.needsResealing(again)]).toEqual(['2026', false]);
    expect(() => before.open(again, ID)).toThrow('"2026"');
  });

  test('another key of the same id opens nothing', () => {
    expect(() => Keyring.parse(line('2025')).open(Keyring.parse(old).seal('x', ID), ID)).toThrow(
      ServiceError,
    );
  });
});

describe('the text of keys', () => {
  const good = line('a');
  test.each([
    ['', 'no key'],
    ['# only a comment\n', 'no key'],
    [`${good}\na:${'A'.repeat(43)}=`, 'line 2: there is a key "a" already'],
    ['a', 'line 1 is not'],
    [`a:${randomBytes(31).toString('base64')}`, 'line 1 is not'],
    [`a:${randomBytes(33).toString('base64')}`, 'line 1 is not'],
    [`a:${randomBytes(32).toString('hex')}`, 'line 1 is not'],
    [`\ufeff${good}`, 'line 1 is not'],
    [`a b:${'A'.repeat(43)}=`, 'line 1 is not'],
    [`:${'A'.repeat(43)}=`, 'line 1 is not'],
    [Array.from({ length: KEYS_MAX + 1 }, (_, at) => line(`k${at}`)).join('\n'), 'more than 100'],
  ])('%# is refused', (text, message) => {
    const failure = thrownBy(() => Keyring.parse(text)) as Error;
    expect(failure.message).toContain(message);
    expect(failure.message).toContain('bad-options');
    expect(failure.message.length).toBeLessThan(100);
  });
});

describe('a file of keys', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'keyring-'));
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });
  const file = (name: string, { text, mode }: { text: string; mode: number }): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };

  test.each([0o600, 0o400, 0o640, 0o440])('of mode %o is read', (mode) => {
    expect(readKeyring(file(`good-${mode}`, { text: line('a'), mode })).keyId).toBe('a');
  });

  test.each([0o644, 0o604, 0o602, 0o601, 0o666])('of mode %o is refused, also through a link', (mode) => {
    const path = file(`open-${mode}`, { text: line('a'), mode });
    const link = join(directory, `link-${mode}`);
    symlinkSync(path, link);
    for (const name of [path, link]) expect(() => readKeyring(name)).toThrow('open to all users');
  });

  test('that is not there, is a directory, is too large or holds no keys is refused by name', () => {
    const large = file('large', { text: '#'.repeat(KEY_FILE_BYTES_MAX + 1), mode: 0o600 });
    const empty = file('empty', { text: '', mode: 0o600 });
    chmodSync(directory, 0o700);
    for (const path of [join(directory, 'absent'), directory, large, empty]) {
      const failure = thrownBy(() => readKeyring(path)) as Error;
      expect(failure.message).toContain(path);
      expect(failure.message).toContain('bad-options');
    }
  });
});

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  return null;
}
