/** A decoded message as plain data: what was on the wire, without defaults, every 64-bit integer as text. */
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [field: string]: Plain };

/**
 * Absent and default scalars are the same on the wire, so defaults go. An empty message is not an absent one: it
 * stays. Bytes become their latin1 text with a mark, that they are told from strings.
 */
export function plain(value: unknown): Plain {
  if (value === null || value === undefined) return null;
  if (Buffer.isBuffer(value)) return `b:${value.toString('latin1')}`;
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  if (Array.isArray(value)) return value.map(plain);
  const fields: Record<string, Plain> = {};
  for (const [name, item] of Object.entries(value as object)) {
    if (!isDefault(item)) fields[name] = typeof item === 'number' ? String(item) : plain(item);
  }
  return fields;
}

function isDefault(value: unknown): boolean {
  if (value === null || value === undefined || value === 0 || value === 0n) return true;
  if (value === false || value === '') return true;
  return (Buffer.isBuffer(value) || Array.isArray(value)) && value.length === 0;
}

/** Equal texts mean equal data: fields in the order of their names. */
export function canonical(value: Plain): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonical).join(',')}]`;
  const fields = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name]!)}`);
  return `{${fields.join(',')}}`;
}

function isList(value: Plain): value is readonly Plain[] {
  return Array.isArray(value);
}
