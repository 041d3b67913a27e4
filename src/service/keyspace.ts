import {
  APPLICATION_ROWS,
  applicationRowKey,
  ENVIRONMENT_ROWS,
  environmentRowKey,
  plainPrefixText,
  SERVICE_PREFIX,
} from '../config-format/keys.ts';
import type { ConfigurationName, FeatureKind, FeatureName, Scope } from './model.ts';

/**
 * Where everything lies in the store: the one place that makes keys. Rows of the service lie under `/_conclave/` and hold
 * JSON; plain values lie where plain clients look for them.
 */
export { SERVICE_PREFIX } from '../config-format/keys.ts';

/** Put by every change, unguarded: its mod revision is that of the newest change. */
export const HEAD_KEY: Buffer = Buffer.from(`${SERVICE_PREFIX}head`);

/** Rows of one kind share a prefix, which ends with a slash. */
export const PREFIXES = {
  configuration: `${SERVICE_PREFIX}configuration/`,
  version: `${SERVICE_PREFIX}version/`,
  environment: ENVIRONMENT_ROWS,
  application: APPLICATION_ROWS,
  applicationOrder: `${SERVICE_PREFIX}application-order/`,
  flag: `${SERVICE_PREFIX}flag/`,
  segment: `${SERVICE_PREFIX}flag-segment/`,
  change: `${SERVICE_PREFIX}change/`,
  changeSet: `${SERVICE_PREFIX}change-set/`,
  seal: `${SERVICE_PREFIX}seal/`,
  instance: `${SERVICE_PREFIX}instance/`,
  lock: `${SERVICE_PREFIX}lock/`,
  usage: `${SERVICE_PREFIX}usage/`,
  experiment: `${SERVICE_PREFIX}experiment/`,
} as const;

/** Versions are numbered with so many digits, so that their order is that of their keys. */
const VERSION_DIGITS = 10;
/** As many as the greatest revision has. */
const REVISION_DIGITS = 16;

export { configurationId, featureId, idOf } from '../config-format/ids.ts';

export function configurationKey(id: string): Buffer {
  return Buffer.from(`${PREFIXES.configuration}${id}`);
}

/** Of a flag or a segment: those of one scope lie together, in the order of their keys. */
export function featureKey({ kind, tenant, environment, application, key }: FeatureName): Buffer {
  return Buffer.from(`${PREFIXES[kind]}${tenant}/${environment}/${application}/${key}`);
}

/** Whether it is the key of a flag's or segment's row. */
export function isFeatureKey(key: string): boolean {
  return key.startsWith(PREFIXES.flag) || key.startsWith(PREFIXES.segment);
}

/**
 * What stands for the features of a scope among its plain keys, where permissions are given: who may touch all keys of an
 * application may touch its flags. There are no values there.
 */
export const FEATURE_PLAIN_PREFIXES: Readonly<Record<FeatureKind, string>> = {
  flag: 'feature_flags/',
  segment: 'flag_segments/',
};

/** Versions of configurations and of features: their ids differ. */
export function versionKey(id: string, version: number): Buffer {
  return Buffer.from(`${PREFIXES.version}${id}/${String(version).padStart(VERSION_DIGITS, '0')}`);
}

export function environmentKey(tenant: string, id: string): Buffer {
  return Buffer.from(environmentRowKey(tenant, id));
}

export function applicationKey(tenant: string, name: string): Buffer {
  return Buffer.from(applicationRowKey(tenant, name));
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

/** What is sealed so far, and the end of the chain. It lies behind all blocks. */
export const SEAL_HEAD_KEY: Buffer = Buffer.from(`${PREFIXES.seal}head`);

/** Under which key all secrets are sealed, and how far. It lies behind the head: nobody watches it. */
export const RESEALING_KEY: Buffer = Buffer.from(`${SERVICE_PREFIX}resealing`);

/** A block of sealed changes, by the revision of its last one: the order of the keys is that of the chain. */
export function sealKey(revision: number): Buffer {
  return Buffer.from(`${PREFIXES.seal}${String(revision).padStart(REVISION_DIGITS, '0')}`);
}

/** Some of the instances that are connected to one server. */
export function instanceShardKey(server: string, shard: number): Buffer {
  return Buffer.from(`${PREFIXES.instance}${server}/${shard}`);
}

/**
 * How often flags answered what in an hour, as one server saw it: the oldest hours come first.
 *
 * @param hour `2026-11-22T11`
 */
export function usageKey(hour: string, { tenant, environment, application }: Scope, server: string): Buffer {
  return Buffer.from(`${usagePrefix(hour)}${tenant}/${environment}/${application}/${server}`);
}

/** All rows of an hour. */
export function usagePrefix(hour: string): string {
  return `${PREFIXES.usage}${hour}/`;
}

/** Of a flag; with an empty key, what all of a scope start with. */
export function experimentKey({ tenant, environment, application }: Scope, flag: string): Buffer {
  return Buffer.from(`${PREFIXES.experiment}${tenant}/${environment}/${application}/${flag}`);
}

/** Where plain clients find the value: its JSON text, of a secret its envelope. */
export function plainKey(name: ConfigurationName): Buffer {
  return Buffer.from(`${plainPrefixText(name)}${name.key}`);
}

/** All plain values of a scope start with this. */
export function plainPrefix(scope: Scope): Buffer {
  return Buffer.from(plainPrefixText(scope));
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
