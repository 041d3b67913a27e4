/**
 * Rows of the service are JSON with the number of their format. Rows of a format that this program does not know were
 * written by a later one; they are refused, never guessed at.
 */
const FORMAT = 1;

/** Bytes of the service that cannot be read. */
export class RowError extends Error {
  override readonly name = 'RowError';
}

/** A row as it was put; its fields are taken on trust, since only the service writes rows. @throws RowError */
export function decodeRow<T extends { readonly format: 1 }>(bytes: Buffer): T {
  const row = parse(bytes);
  const format: unknown = typeof row === 'object' && row !== null && 'format' in row ? row.format : undefined;
  if (format !== FORMAT) throw new RowError(`a row has the unknown format ${JSON.stringify(format)}`);
  return row as T;
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString());
  } catch (error) {
    throw new RowError('a row is not JSON', { cause: error });
  }
}
