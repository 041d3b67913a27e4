import { createHash } from 'node:crypto';
import type { ConfigurationName, Scope } from './model.ts';

/**
 * Where everything lies in the store: the one place that makes keys. Rows of the service lie under `/_conclave/` and hold
 * JSON; plain values lie where plain clients look for them.
 */
export const SERVICE_PREFIX = '/_conclave/';

/** Put by every change, unguarded: its mod revision is that of the newest change. */
export const HEAD_KEY: Buffer = Buffer.from(`${SERVICE_PREFIX}head`);

/** Rows of one kind share a prefix, which ends with a slash. */
export const PREFIXES = {
  configuration: `${SERVICE_PREFIX}configuration/`,
  version: `${SERVICE_PREFIX}version/`,
  environment: `${SERVICE_PREFIX}environment/`,
  application: `${SERVICE_PREFIX}application/`,
  applicationOrder: `${SERVICE_PREFIX}application-order/`,
  change: `${SERVICE_PREFIX}change/`,
  changeSet: `${SERVICE_PREFIX}change-set/`,
  seal: `${SERVICE_PREFIX}seal/`,
  instance: `${SERVICE_PREFIX}instance/`,
  lock: `${SERVICE_PREFIX}lock/`,
} as const;

/** Versions are numbered with so many digits, so that their order is that of their keys. */
const VERSION_DIGITS = 10;

/** The id that a configuration of this name has, always: 128 bits of a hash, written as a UUID of version 8. */
export function configurationId({ tenant, environment, application, key }: ConfigurationName): string {
  return idOf(['configuration', tenant, environment, application, key]);
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

export function configurationKey(id: string): Buffer {
  return Buffer.from(`${PREFIXES.configuration}${id}`);
}

export function versionKey(id: string, version: number): Buffer {
  return Buffer.from(`${PREFIXES.version}${id}/${String(version).padStart(VERSION_DIGITS, '0')}`);
}

export function environmentKey(tenant: string, id: string): Buffer {
  return Buffer.from(`${PREFIXES.environment}${tenant}/${id}`);
}

export function applicationKey(tenant: string, name: string): Buffer {
  return Buffer.from(`${PREFIXES.application}${tenant}/${name}`);
}

/**
 * Put and guarded by every change of an application that has rules over several keys, so that of two changes neither
 * relies on what the other one is just changing.
 */
export function applicationOrderKey(tenant: string, name: string): Buffer {
  return Buffer.from(`${PREFIXES.applicationOrder}${tenant}/${name}`);
}

export function changeSetKey(tenant: string, name: string): Buffer {
  return Buffer.from(`${PREFIXES.changeSet}${tenant}/${name}`);
}

export function changeKey(id: string): Buffer {
  return Buffer.from(`${PREFIXES.change}${id}`);
}

/** Where plain clients find the value: its JSON text, of a secret its envelope. */
export function plainKey({ tenant, environment, application, key }: ConfigurationName): Buffer {
  return Buffer.from(`/${tenant}/${environment}/${application}/${key}`);
}

/** All plain values of a scope start with this. */
export function plainPrefix({ tenant, environment, application }: Scope): Buffer {
  return Buffer.from(`/${tenant}/${environment}/${application}/`);
}

/** Everything of an environment, or of a tenant, starts with this. */
export function plainPrefixOf({
  tenant,
  environment,
}: {
  readonly tenant: string;
  readonly environment?: string | undefined;
}): Buffer {
  return Buffer.from(environment === undefined ? `/${tenant}/` : `/${tenant}/${environment}/`);
}
