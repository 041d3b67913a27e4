import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeFields, type Field, HpackDecoder } from '../../../src/rpc/http2/hpack.ts';
import { huffmanText } from '../../../src/rpc/http2/huffman.ts';
import { ConnectionError, errorCode } from '../../../src/rpc/http2/protocol.ts';

const decoder = (listBytesMax = 65_536): HpackDecoder => new HpackDecoder({ listBytesMax });
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

function codeOf(run: () => unknown): number {
  try {
    run();
  } catch (error) {
    if (error instanceof ConnectionError) return error.code;
    throw error;
  }
  return -1;
}

describe('the examples of RFC 7541, appendix C', () => {
  const REQUESTS: readonly (readonly Field[])[] = [
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'http'],
      [':path', '/'],
      [':authority', 'www.example.com'],
      ['cache-control', 'no-cache'],
    ],
    [
      [':method', 'GET'],
      [':scheme', 'https'],
      [':path', '/index.html'],
      [':authority', 'www.example.com'],
      ['custom-key', 'custom-value'],
    ],
  ];

  test('C.3: requests on one connection, without Huffman coding', () => {
    const one = decoder();
    const blocks = [
      '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
      '8286 84be 5808 6e6f 2d63 6163 6865',
      '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
    ];
    expect(blocks.map((block) => one.decode(hex(block)))).toEqual(REQUESTS);
  });

  test('C.4: the same with Huffman coding', () => {
    const one = decoder();
    const blocks = [
      '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
      '8286 84be 5886 a8eb 1064 9cbf',
      '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
    ];
    expect(blocks.map((block) => one.decode(hex(block)))).toEqual(REQUESTS);
  });

  test('C.5: a table of 256 bytes evicts', () => {
    const one = decoder();
    // The table is made small first; the sizes of appendix C.5 follow from that.
    one.decode(hex('3fe1 01'));
    expect(
      one.decode(
        hex(
          '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        ),
      ),
    ).toEqual([
      [':status', '302'],
      ['cache-control', 'private'],
      ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
      ['location', 'https://www.example.com'],
    ]);
    expect(one.decode(hex('4803 3330 37c1 c0bf'))).toEqual([
      [':status', '307'],
      ['cache-control', 'private'],
      ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
      ['location', 'https://www.example.com'],
    ]);
  });
});

test('what is encoded decodes to the same, and leaves the table as it was', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,40}$/);
  const value = fc.string({ unit: 'binary-ascii', maxLength: 300 });
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { maxLength: 20 }), (fields) => {
      const block = encodeFields(fields);
      const one = decoder();
      expect(one.decode(block)).toEqual(fields);
      expect(codeOf(() => one.decode(hex('be')))).toBe(errorCode.compressionError);
    }),
  );
});

test('a decoder says when blocks depend on nothing before them', () => {
  const one = decoder();
  expect(one.stateless).toBe(false);
  one.decode(hex('20'));
  expect(one.stateless).toBe(true);
  // An insertion into a table of no size is just a field.
  expect(one.decode(hex('4001 6101 62'))).toEqual([['a', 'b']]);
  expect(codeOf(() => one.decode(hex('be')))).toBe(errorCode.compressionError);
});

describe('malformed blocks end the connection', () => {
  test.each([
    ['the index 0', '80'],
    ['an index beyond both tables', 'be'],
    ['a string that is cut short', '4003 61'],
    ['an integer that is cut short', '7f'],
    ['an integer without end', '7f ff ff ff ff ff ff'],
    ['a table larger than was offered', '3fe2 1f'],
    ['a change of the table size between fields', '8220'],
    ['a Huffman text with the end symbol in it', '0084 ffff ffff 00'],
    ['a Huffman text with padding of a byte', '0082 1fff 00'],
    ['a Huffman text padded with zeros', '0081 18 00'],
  ])('%s', (_, block) => {
    expect(codeOf(() => decoder().decode(hex(block)))).toBe(errorCode.compressionError);
  });

  test('a small block that stands for a large list', () => {
    const one = decoder();
    const value = 'x'.repeat(3_000);
    one.decode(Buffer.concat([hex('4001 62 7f b9 16'), Buffer.alloc(3_000, value)]));
    expect(codeOf(() => one.decode(Buffer.alloc(1_000, 0xbe)))).toBe(errorCode.enhanceYourCalm);
  });

  test('random bytes never do anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const code = codeOf(() => decoder().decode(Buffer.from(bytes)));
        expect([-1, errorCode.compressionError, errorCode.enhanceYourCalm]).toContain(code);
      }),
      { numRuns: 2_000 },
    );
  });
});

test('Huffman texts', () => {
  expect(huffmanText(hex('1f'))).toBe('a');
  expect(huffmanText(hex('f1e3 c2e5 f23a 6ba0 ab90 f4ff'))).toBe('www.example.com');
  // The longest code, of thirty bits: a line feed.
  expect(huffmanText(hex('ffff fff3'))).toBe('\n');
  expect(huffmanText(Buffer.alloc(0))).toBe('');
});
