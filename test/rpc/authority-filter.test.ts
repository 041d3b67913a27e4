import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AuthorityRewriter } from '../../src/rpc/authority-filter.ts';
import { huffmanText } from '../../src/rpc/huffman.ts';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

function frame(type: number, flags: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(1, 5);
  return Buffer.concat([head, payload]);
}

function literal(prefix: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([prefix, value.length]), Buffer.from(value, 'latin1')]);
}

/** `:method POST`, a new name with a value, then `:authority`. */
function headerBlock(authority: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from([0x83, 0x00]),
    literal(1, 'x').subarray(1),
    literal(0, 'y').subarray(1),
    authority,
  ]);
}

describe('HPACK Huffman', () => {
  test('decodes the example of RFC 7541 C.4.1', () => {
    expect(huffmanText(Buffer.from('f1e3c2e5f23a6ba0ab90f4ff', 'hex'))).toBe('www.example.com');
  });

  test('refuses bad padding', () => {
    expect(huffmanText(Buffer.from('f1e3c2e5f23a6ba0ab90f400', 'hex'))).toBeNull();
  });
});

describe('the authority filter', () => {
  test('replaces slashes in a literal authority and keeps its length', () => {
    const block = headerBlock(literal(0x41, 'http://127.0.0.1:2379'));
    const out = Buffer.concat(
      new AuthorityRewriter({ frame: () => true }).push(Buffer.concat([PREFACE, frame(1, 0x4, block)])),
    );
    expect(out.toString('latin1')).toContain('http:--127.0.0.1:2379');
    expect(out.length).toBe(PREFACE.length + 9 + block.length);
  });

  test('replaces a Huffman-coded one by a raw one and mends the frame length', () => {
    // "http://a" in HPACK's Huffman code.
    const coded = Buffer.from('9d29aee30c0f', 'hex');
    expect(huffmanText(coded)).toBe('http://a');
    const value = Buffer.concat([Buffer.from([0x41, 0x80 | coded.length]), coded]);
    const input = frame(1, 0x4, headerBlock(value));
    const out = Buffer.concat(
      new AuthorityRewriter({ frame: () => true }).push(Buffer.concat([PREFACE, input])),
    ).subarray(PREFACE.length);
    expect(out.toString('latin1')).toContain('http:--a');
    expect(out.readUIntBE(0, 3)).toBe(out.length - 9);
  });

  test('leaves everything else as it is, however it is cut into pieces', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            type: fc.integer({ min: 0, max: 9 }),
            flags: fc.nat(255),
            payload: fc.uint8Array({ maxLength: 60 }),
          }),
        ),
        fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1 }),
        (frames, cuts) => {
          const input = Buffer.concat([
            PREFACE,
            ...frames.map((f) => frame(f.type === 1 ? 0 : f.type, f.flags, Buffer.from(f.payload))),
          ]);
          const rewriter = new AuthorityRewriter({ frame: () => true });
          const out: Buffer[] = [];
          for (let offset = 0, i = 0; offset < input.length; i++) {
            const size = cuts[i % cuts.length]!;
            out.push(...rewriter.push(input.subarray(offset, offset + size)));
            offset += size;
          }
          expect(Buffer.concat(out)).toEqual(input);
        },
      ),
    );
  });

  test('survives any header block', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (payload) => {
        const out = new AuthorityRewriter({ frame: () => true }).push(
          Buffer.concat([PREFACE, frame(1, 0x4, Buffer.from(payload))]),
        );
        expect(Buffer.concat(out).length).toBeGreaterThanOrEqual(PREFACE.length + 9);
      }),
    );
  });
});
