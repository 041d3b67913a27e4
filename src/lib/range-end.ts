/** The end that makes a range of "this key and everything after it". */
export const ALL_FROM: Buffer = Buffer.from([0]);

/**
 * The `rangeEnd` of all keys that start with `prefix`: the prefix with its last byte below 0xff raised by one. A
 * prefix that is empty or all 0xff has no such byte and ends with the keys themselves.
 */
export function prefixEnd(prefix: Buffer): Buffer {
  let at = prefix.length - 1;
  while (at >= 0 && prefix[at] === 0xff) at -= 1;
  if (at < 0) return ALL_FROM;
  const end = Buffer.from(prefix.subarray(0, at + 1));
  end[at] = prefix[at]! + 1;
  return end;
}
