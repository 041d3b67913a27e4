/**
 * A copy in memory of its own size. `Buffer.from` takes small ones out of a pool, where whatever lives longest keeps
 * its neighbours' memory, too.
 */
export function ownCopy(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.length);
  copy.set(bytes);
  return copy;
}
