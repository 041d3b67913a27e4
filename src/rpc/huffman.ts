/**
 * HPACK's Huffman code (RFC 7541, appendix B), as far as it is needed here: the code is canonical, so the lengths of
 * the 257 codes, in order of their symbols, say everything.
 */
const CODE_BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];
const END_SYMBOL = 256;
const BITS_MAX = 30;

/** For each code length: the first code of that length, and the symbols of that length in order. */
const BY_BITS = canonicalCode();

/** The text that Huffman-coded bytes stand for, or null when they are not well-formed. */
export function huffmanText(bytes: Buffer): string | null {
  let text = '';
  let code = 0;
  let bits = 0;
  for (const byte of bytes) {
    for (let shift = 7; shift >= 0; shift--) {
      code = code * 2 + ((byte >> shift) & 1);
      bits += 1;
      const level = BY_BITS[bits];
      const symbol = level?.symbols[code - level.firstCode];
      if (symbol !== undefined && code >= (level?.firstCode ?? 0)) {
        if (symbol === END_SYMBOL) return null;
        text += String.fromCharCode(symbol);
        code = 0;
        bits = 0;
      } else if (bits === BITS_MAX) return null;
    }
  }
  // Padding is less than a byte of ones (RFC 7541, 5.2).
  return bits < 8 && code === 2 ** bits - 1 ? text : null;
}

function canonicalCode(): readonly { readonly firstCode: number; readonly symbols: readonly number[] }[] {
  const levels: { firstCode: number; symbols: number[] }[] = [];
  let code = 0;
  for (let bits = 0; bits <= BITS_MAX; bits++) {
    const symbols = CODE_BITS.flatMap((length, symbol) => (length === bits ? [symbol] : []));
    levels.push({ firstCode: code, symbols });
    code = (code + symbols.length) * 2;
  }
  return levels;
}
