import { createHash } from 'node:crypto';

/** The id that a configuration of this name has, always: 128 bits of a hash, written as a UUID of version 8. */
export function configurationId({
  tenant,
  environment,
  application,
  key,
}: {
  readonly tenant: string;
  /** Its canonical id. */
  readonly environment: string;
  readonly application: string;
  readonly key: string;
}): string {
  return idOf(['configuration', tenant, environment, application, key]);
}

/** The id that a flag or segment of this name has, always. */
export function featureId({
  kind,
  tenant,
  environment,
  application,
  key,
}: {
  readonly kind: 'flag' | 'segment';
  readonly tenant: string;
  /** Its canonical id. */
  readonly environment: string;
  readonly application: string;
  readonly key: string;
}): string {
  return idOf([kind, tenant, environment, application, key]);
}

/** An id that follows from the parts, which are told apart by their lengths. */
export function idOf(parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:${part}`);
  const bytes = hash.digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
