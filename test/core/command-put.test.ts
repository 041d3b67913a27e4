import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Command, decodeCommand, encodeCommand } from '../../src/core/command.ts';
import { decodePut, encodePut } from '../../src/core/command-put.ts';
import type { PutRequest } from '../../src/core/mvcc/operations.ts';
import { int64, pack, unpack } from '../../src/lib/packed.ts';
import { put, remove } from './mvcc/fixture.ts';

/** What the general codec makes of a put. */
function packed({ id, user, authRevision }: Command, request: PutRequest): Buffer {
  const flags =
    Number(request.prevKv) | (Number(request.ignoreValue) << 1) | (Number(request.ignoreLease) << 2);
  const head = [1, id?.member ?? 0, id?.incarnation ?? 0, id?.seq ?? 0, user, authRevision, 0];
  return pack([...head, request.key, request.value, int64(request.lease), flags]);
}

function command(operation: PutRequest, fields: Partial<Command> = {}): Command {
  return { id: { member: 3, incarnation: 2, seq: 9 }, user: 'u', authRevision: 4, operation, ...fields };
}

const natural = fc.oneof(
  fc.nat({ max: 300 }),
  fc.constantFrom(0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0xffff_ffff, 2 ** 32, 2 ** 53 - 1),
  fc.maxSafeNat(),
);
const bin = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.constantFrom(0xff, 0x100).map((length) => new Uint8Array(length)),
);
const request: fc.Arbitrary<PutRequest> = fc.record({
  type: fc.constant('put' as const),
  key: bin.map((bytes) => Buffer.from(bytes)),
  value: bin.map((bytes) => Buffer.from(bytes)),
  lease: fc.oneof(
    fc.constantFrom(0n, 1n, -1n, 2n ** 63n - 1n, -(2n ** 63n)),
    fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  ),
  prevKv: fc.boolean(),
  ignoreValue: fc.boolean(),
  ignoreLease: fc.boolean(),
});
const anyPut = fc
  .record({
    member: natural,
    incarnation: natural,
    seq: natural,
    user: fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: 'grapheme', maxLength: 12 })),
    authRevision: natural,
    operation: request,
  })
  .map(({ member, incarnation, seq, user, authRevision, operation }) => {
    const id = member === 0 ? null : { member, incarnation, seq };
    return { each: { id, user, authRevision, operation }, operation };
  });

test('a put has the bytes that the general codec gives it', () => {
  fc.assert(
    fc.property(anyPut, ({ each, operation }) => {
      expect(encodeCommand(each).equals(packed(each, operation))).toBe(true);
      expect(decodeCommand(packed(each, operation))).toEqual(each);
    }),
    { numRuns: 300 },
  );
});

test.each([0xffff, 0x1_0000])('a value of %i bytes comes back whole', (length) => {
  const each = command(put('key', 'v'.repeat(length)));
  const bytes = encodeCommand(each);
  expect(bytes.equals(packed(each, put('key', 'v'.repeat(length))))).toBe(true);
  expect(decodePut(bytes)?.operation).toMatchObject({ value: expect.any(Buffer) });
  expect(encodeCommand(decodePut(bytes)!).equals(bytes)).toBe(true);
});

test('an ordinary put is neither written nor read by the general codec', () => {
  const ordinary = command(put('key', 'value', { lease: -2n }), { user: 'x'.repeat(31) });
  const bytes = encodePut(ordinary, put('key', 'value', { lease: -2n }))!;
  expect(decodePut(bytes)).toEqual(ordinary);
  expect(encodePut({ ...ordinary, user: 'x'.repeat(32) }, put('key'))).toBeNull();
  expect(encodePut({ ...ordinary, user: '\u00fc' }, put('key'))).toBeNull();
});

test('bytes that are changed or cut short mean what they mean to the general codec, or are left to it', () => {
  fc.assert(
    fc.property(
      anyPut,
      fc.nat(),
      fc.nat({ max: 255 }),
      fc.boolean(),
      ({ each, operation }, at, byte, isCut) => {
        const bytes = packed(each, operation);
        const position = at % Math.min(bytes.length, 80);
        bytes[position] = byte;
        const changed = isCut ? bytes.subarray(0, position) : bytes;
        const read = decodePut(changed);
        if (read === null) return;
        // Who waits for nobody is written with zeros, whatever was read beside.
        const isSame =
          read.id === null || pack(unpack(changed)).equals(packed(read, read.operation as PutRequest));
        expect(isSame).toBe(true);
      },
    ),
    { numRuns: 1_000 },
  );
});

test('other commands are not read as puts', () => {
  const operation = remove('a', 'b', true);
  expect(decodePut(encodeCommand({ id: null, user: '', authRevision: 0, operation }))).toBeNull();
});

test('a key and a value are views of bytes that have their memory to themselves, and copies of others', () => {
  const bytes = encodeCommand(command(put('key', 'value')));
  const viewed = decodeCommand(bytes).operation as PutRequest;
  expect(viewed.value.buffer).toBe(bytes.buffer);
  const window = Buffer.concat([bytes, bytes]).subarray(0, bytes.length);
  const copied = decodeCommand(window).operation as PutRequest;
  expect(copied.value.buffer.byteLength).toBe(copied.value.length);
  window.fill(0);
  expect(copied).toEqual(put('key', 'value'));
});
