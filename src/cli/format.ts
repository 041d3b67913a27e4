/** Values as text, for people and for programs. */

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `20 KiB`, `1.5 GiB`: two digits at least, one decimal at most. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 10 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]!}`;
}

/** `0.4 ms`, `65 ms`: whole from 10 ms on. */
export function formatMs(ms: number): string {
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`;
}

/** A member's or cluster's id as etcd's tools write it. */
export function formatId(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16);
}

/** A lease's id as etcd's tools write it: hexadecimal of the 64 bits, so negative ids are long. */
export function formatLease(id: bigint): string {
  return BigInt.asUintN(64, id).toString(16).padStart(16, '0');
}

/** Rows under headings, each column as wide as its widest cell. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  return `${all.map(line).join('\n')}\n`;
}

/**
 * JSON as etcd's tools print it: 64-bit integers as exact numbers, bytes as base64. Objects without `undefined`,
 * arrays, texts, numbers, booleans, null, bigints and Buffers; nothing else.
 */
export function toJson(value: unknown): string {
  if (typeof value === 'bigint') return value.toString();
  if (Buffer.isBuffer(value)) return JSON.stringify(value.toString('base64'));
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, field]) => `${JSON.stringify(key)}:${toJson(field)}`)
      .join(',')}}`;
  }
  return JSON.stringify(value);
}
