import type { ServiceContext } from './context.ts';
import type { Configuration, ConfigurationVersion, Json, SealedValue, ValueType } from './model.ts';
import { MASK } from './secrets/keyring.ts';
import { ServiceError } from './service-error.ts';

/** A value as a caller may see it. */
export interface ShownValue {
  readonly type: ValueType;
  /** Of a secret that is not revealed the mask. */
  readonly json: Json;
  readonly isMasked: boolean;
}

/** A configuration as a caller may see it. */
export interface ConfigurationView
  extends Omit<Configuration, 'format' | 'value' | 'isDeleted' | 'changeId'> {
  readonly value: ShownValue;
  /** Of the change that made this version. */
  readonly changeId: string;
  /** The revision of the row: its entity tag, without the quotes. */
  readonly etag: string;
  readonly modRevision: number;
}

/** A version as a caller may see it. */
export interface VersionView extends Omit<ConfigurationVersion, 'format' | 'value'> {
  readonly value: ShownValue;
  /** At which this version was made. */
  readonly revision: number;
}

export function shown(value: Configuration['value']): ShownValue {
  if (value.type === 'secret') return { type: 'secret', json: MASK, isMasked: true };
  return { type: value.type, json: value.json, isMasked: false };
}

export function viewOf(configuration: Configuration, modRevision: number): ConfigurationView {
  const { format: _, value, isDeleted: __, ...rest } = configuration;
  return { ...rest, value: shown(value), etag: String(modRevision), modRevision };
}

export function versionViewOf(version: ConfigurationVersion, revision: number): VersionView {
  const { format: _, value, ...rest } = version;
  return { ...rest, value: shown(value), revision };
}

/** The secret itself. @throws ServiceError `unavailable` when this server has no key that opens it */
export function opened({ keyring }: ServiceContext, sealed: SealedValue, configurationId: string): Json {
  if (keyring === null) throw new ServiceError('unavailable', 'this server has no key that opens secrets');
  return keyring.open(sealed, configurationId);
}
