/**
 * Bytes as the 32-bit words that hashes mix. Reading them one by one out of a Buffer, and joining them, takes most of
 * the time of a hash; a copy of them can be read by the word, wherever in memory they began.
 */

/** Bytes that are copied at once; a whole number of words. */
const ROOM_BYTES = 16 * 1024;
const room = new Uint8Array(ROOM_BYTES);

/** The words of the last `loadWords`, little-endian. */
export const words: DataView = new DataView(room.buffer);

/**
 * Copies what follows `from`, as far as there is room. A last word that is not whole is filled up with zeros.
 *
 * @returns how many bytes it took; nothing is left of `bytes` when `from` and that reach their end
 */
export function loadWords(bytes: Buffer, from: number): number {
  const length = Math.min(ROOM_BYTES, bytes.length - from);
  room.set(length === bytes.length ? bytes : bytes.subarray(from, from + length));
  if ((length & 3) !== 0) room.fill(0, length, (length + 3) & ~3);
  return length;
}
