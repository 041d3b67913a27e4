import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { AssertionError } from '../../src/lib/assert.ts';
import { arrayOf, Fields, int64, MalformedError, type Packed, pack, unpack } from '../../src/lib/packed.ts';

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

const anyBytes = fc.uint8Array({ maxLength: 80 }).map((array) => Buffer.from(array));
const anyInt64 = fc.bigInt({ min: INT64_MIN, max: INT64_MAX });
const anyInteger = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(-1, 2 ** 31, 2 ** 32, 2 ** 53 - 1),
);
const { anyPacked } = fc.letrec<{ anyPacked: Packed }>((tie) => ({
  anyPacked: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    anyInteger,
    anyInt64,
    fc.string({ unit: 'grapheme', maxLength: 70 }),
    anyBytes,
    fc.array(tie('anyPacked'), { maxLength: 20 }),
  ),
}));

function nested(depth: number): Buffer {
  return Buffer.concat([Buffer.alloc(depth - 1, 0x91), Buffer.of(0x90)]);
}

/** Reads one field that was packed as it is. */
function field<T>(value: Packed, read: (fields: Fields) => T): T {
  return read(new Fields(unpack(pack([value]))));
}

describe('pack and unpack', () => {
  test('every value comes back as it went, and equal values have equal bytes', () => {
    fc.assert(
      fc.property(anyPacked, (value) => {
        const bytes = pack(value);
        expect(unpack(bytes)).toEqual(value);
        expect(pack(unpack(bytes)).equals(bytes)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('the bytes of every type are fixed', () => {
    const fixed: readonly (readonly [Packed, string])[] = [
      [null, 'c0'],
      [false, 'c2'],
      [true, 'c3'],
      [0, '00'],
      [-0, '00'],
      [127, '7f'],
      [200, 'ccc8'],
      [300, 'cd012c'],
      [70_000, 'ce00011170'],
      [2 ** 40, 'cb4270000000000000'],
      [-1, 'ff'],
      [-100, 'd09c'],
      [-1_000, 'd1fc18'],
      [-100_000, 'd2fffe7960'],
      [5n, 'd30000000000000005'],
      [-2n, 'd3fffffffffffffffe'],
      [int64(0n), '00'],
      ['', 'a0'],
      ['n', 'a16e'],
      ['x'.repeat(40), `d928${'78'.repeat(40)}`],
      [Buffer.of(), 'c400'],
      [Buffer.of(1, 2), 'c4020102'],
      [[], '90'],
      [[1, ['p']], '920191a170'],
      [Array.from({ length: 16 }, () => 0), `dc0010${'00'.repeat(16)}`],
    ];
    for (const [value, hex] of fixed) expect(pack(value).toString('hex')).toBe(hex);
  });

  test('long texts, bytes and arrays come back', () => {
    const long = [Buffer.alloc(70_000, 7), 'é'.repeat(70_000), Array.from({ length: 70_000 }, () => 1)];
    expect(unpack(pack(long))).toEqual(long);
  });

  test('what is packed stays as it is; what is unpacked holds nothing of its source', () => {
    const bytes = pack([Buffer.from('value'), 'text']);
    const copy = Buffer.from(bytes);
    for (let length = 0; length < 1_000; length++) pack(Buffer.alloc(length));
    expect(bytes.equals(copy)).toBe(true);
    const [value, text] = arrayOf(unpack(bytes));
    bytes.fill(0);
    expect([value, text]).toEqual([Buffer.from('value'), 'text']);
    expect((value as Buffer).buffer).not.toBe(bytes.buffer);
  });
});

describe('malformed bytes', () => {
  test.each([
    ['nothing', ''],
    ['the reserved byte', 'c1'],
    ['a fixed map', '80'],
    ['a map', 'de0000'],
    ['a large map', 'dfffffffff'],
    ['a map in an array', '9180'],
    ['a fixed extension', 'd40000'],
    ['a date', 'd6ff00000000'],
    ['an extension', 'c70100ff'],
    ['a float 32', 'ca3fc00000'],
    ['an uint 64', 'cf0000000000000001'],
    ['two values', '0000'],
    ['a byte behind an array', '910000'],
    ['a missing item', '9200'],
    ['a missing array in an array', '91'],
    ['a count cut short', 'dd0000'],
    ['an array of 16 bit length, longer than its bytes', 'dcffff'],
    ['an array of 32 bit length, longer than its bytes', 'ddffffffff'],
    ['an array within one, longer than its bytes', '91ddffffffff'],
    ['a length cut short', 'c600'],
    ['bytes of 8 bit length, cut short', 'c401'],
    ['bytes of 32 bit length, cut short', 'c6ffffffff00'],
    ['a short text, cut short', 'a26e'],
    ['a text of 8 bit length, cut short', 'd9206e'],
    ['a text of 32 bit length, cut short', 'dbffffffff'],
    ['an integer cut short', 'ce000111'],
    ['an int64 cut short', 'd3000000'],
    ['a float 64 cut short', 'cb42700000'],
  ])('%s is refused', (_, hex) => {
    expect(() => unpack(Buffer.from(hex, 'hex'))).toThrow(MalformedError);
  });

  test('give a value or a MalformedError, nothing else', () => {
    const damaged = fc.tuple(anyPacked, fc.nat(), fc.nat({ max: 255 })).map(([value, at, byte]) => {
      const bytes = pack(value);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(anyBytes, damaged), (bytes) => {
        try {
          expect(isPacked(unpack(bytes))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError);
        }
      }),
      { numRuns: 3_000 },
    );
  });

  test('a value cut short or with bytes behind it is refused', () => {
    fc.assert(
      fc.property(anyPacked, fc.nat(), fc.nat({ max: 255 }), (value, at, byte) => {
        const bytes = pack(value);
        expect(() => unpack(bytes.subarray(0, at % bytes.length))).toThrow(MalformedError);
        expect(() => unpack(Buffer.concat([bytes, Buffer.of(byte)]))).toThrow(MalformedError);
      }),
      { numRuns: 300 },
    );
  });

  test('nesting is refused before it is followed', () => {
    expect(() => unpack(nested(80))).not.toThrow();
    expect(() => unpack(nested(81))).toThrow(/nested too deep/);
    expect(() => unpack(nested(1_000_000))).toThrow(/nested too deep/);
    // Depth counts enclosing arrays only, not neighbours.
    expect(() => unpack(pack(Array.from({ length: 200 }, () => [[]])))).not.toThrow();
  });

  test('limits of the caller hold', () => {
    const limits = { depthMax: 2, itemsMax: 3 };
    expect(unpack(pack([[1], 2, 3]), limits)).toEqual([[1], 2, 3]);
    expect(() => unpack(nested(3), limits)).toThrow(/nested too deep/);
    expect(() => unpack(pack([[1, 2, 3, 4]]), limits)).toThrow(/too long/);
    expect(unpack(pack([[1], [], 3]), { ...limits, valuesMax: 5 })).toEqual([[1], [], 3]);
    expect(() => unpack(pack([[1], [2], 3]), { ...limits, valuesMax: 5 })).toThrow(/too many parts/);
  });
});

describe('fields', () => {
  test('come in order, each as its type', () => {
    const packed = [
      -1,
      7,
      8,
      0,
      INT64_MIN,
      [0, 5n],
      true,
      't',
      ['a', 'b'],
      Buffer.of(1),
      [Buffer.of(2)],
      1,
      [3, 0],
    ];
    const fields = new Fields(unpack(pack(packed)));
    expect(fields.integer()).toBe(-1);
    expect(fields.integer(7)).toBe(7);
    expect(fields.natural()).toBe(8);
    expect(fields.int64()).toBe(0n);
    expect(fields.int64()).toBe(INT64_MIN);
    expect(fields.int64s()).toEqual([0n, 5n]);
    expect(fields.boolean()).toBe(true);
    expect(fields.text()).toBe('t');
    expect(fields.texts()).toEqual(['a', 'b']);
    expect(fields.bytes()).toEqual(Buffer.of(1));
    expect(fields.byteStrings()).toEqual([Buffer.of(2)]);
    expect(fields.oneOf(['no', 'yes'])).toBe('yes');
    expect(fields.naturals()).toEqual([3, 0]);
    fields.end();
    expect(() => fields.boolean()).toThrow(MalformedError);
  });

  test('an int64 is exact over its whole range', () => {
    fc.assert(
      fc.property(fc.oneof(anyInt64, fc.constantFrom(INT64_MIN, INT64_MAX, 0n, 2n ** 53n + 1n)), (value) => {
        expect(field(int64(value), (fields) => fields.int64())).toBe(value);
      }),
    );
  });

  test('an int64 out of range is a bug of the writer: its bytes could not be read', () => {
    for (const value of [INT64_MIN - 1n, INT64_MAX + 1n]) expect(() => int64(value)).toThrow(AssertionError);
  });

  const wrong: readonly (readonly [string, Packed, (fields: Fields) => unknown])[] = [
    ['a fraction', 1.5, (fields) => fields.integer()],
    ['no number', Number.NaN, (fields) => fields.integer()],
    ['an integer beyond 2^53', 2 ** 53, (fields) => fields.integer()],
    ['an int64 for an integer', 5n, (fields) => fields.integer()],
    ['a negative natural', -1, (fields) => fields.natural()],
    ['an integer below the bound', 1, (fields) => fields.integer(2)],
    ['an integer below the bound in a list', [2, 1], (fields) => fields.naturals(2)],
    ['an integer for an int64', 5, (fields) => fields.int64()],
    ['a number for a boolean', 1, (fields) => fields.boolean()],
    ['bytes for a text', Buffer.of(), (fields) => fields.text()],
    ['nothing for a text', null, (fields) => fields.text()],
    ['a text for bytes', '', (fields) => fields.bytes()],
    ['a text in a list of bytes', [''], (fields) => fields.byteStrings()],
    ['a number in a list of texts', ['', 1], (fields) => fields.texts()],
    ['a text for a list', 'ab', (fields) => fields.texts()],
    ['bytes for a list', Buffer.of(1), (fields) => fields.naturals()],
    ['an unknown name', 2, (fields) => fields.oneOf(['no', 'yes'])],
    ['a field that is left', 0, (fields) => fields.end()],
  ];
  for (const [name, value, read] of wrong) {
    test(`${name} is refused`, () => {
      expect(() => field(value, read)).toThrow(MalformedError);
    });
  }

  test('a negative zero, which is never written, is refused', () => {
    const fields = new Fields(unpack(Buffer.from('91cb8000000000000000', 'hex')));
    expect(() => fields.integer()).toThrow(MalformedError);
  });

  test('only an array has fields', () => {
    for (const value of [null, 1, 'ab', Buffer.of(1), 5n, true]) {
      expect(() => new Fields(value)).toThrow(MalformedError);
      expect(() => arrayOf(value)).toThrow(MalformedError);
    }
  });
});

test('what another encoder makes of objects is refused', () => {
  const other = new Packr({ useRecords: false });
  for (const value of [{ a: 1 }, [new Date(0)], [new Map([[1, 2]])], [2n ** 63n]]) {
    expect(() => unpack(other.pack(value))).toThrow(MalformedError);
  }
});

function isPacked(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isPacked);
  return value === null || Buffer.isBuffer(value) || /^(boolean|number|bigint|string)$/.test(typeof value);
}
