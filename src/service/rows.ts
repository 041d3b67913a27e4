import { decodeRow } from '../config-format/rows.ts';
import type {
  Application,
  ChangeRecord,
  ChangeSet,
  Configuration,
  ConfigurationVersion,
  Environment,
  Feature,
  FeatureVersion,
  StoredValue,
} from './model.ts';

/** The codec of the service's rows. */

/**
 * A value longer than this, in bytes of JSON, stands in its version and not in the configuration's row besides: the
 * plain value, the version and the row must fit one request of 1.5 MiB.
 */
export const ROW_VALUE_BYTES_MAX = 128 * 1024;

export { RowError } from '../config-format/rows.ts';

/** A configuration's row: with its value, or without it when that stands in its version only. */
export type ConfigurationRow =
  | { readonly isWhole: true; readonly configuration: Configuration }
  | { readonly isWhole: false; readonly configuration: Omit<Configuration, 'value'> };

/** The row as it is put. */
export function encodeConfiguration(configuration: Configuration): Buffer {
  const bytes = encode(configuration);
  if (bytes.length <= ROW_VALUE_BYTES_MAX || valueBytes(configuration.value).length <= ROW_VALUE_BYTES_MAX) {
    return bytes;
  }
  const { value: _, ...rest } = configuration;
  return encode(rest);
}

/** @throws RowError */
export function decodeConfiguration(bytes: Buffer): ConfigurationRow {
  const configuration = decodeRow<Configuration>(bytes);
  if (Object.hasOwn(configuration, 'value')) return { isWhole: true, configuration };
  return { isWhole: false, configuration };
}

/** A configuration with its value, whatever its size: how it is kept in memory. */
export function encodeWhole(configuration: Configuration): Buffer {
  return encode(configuration);
}

/** Of `encodeWhole`. @throws RowError */
export function decodeWhole(bytes: Buffer): Configuration {
  return decodeRow<Configuration>(bytes);
}

export function encodeFeature(feature: Feature): Buffer {
  return encode(feature);
}

/** @throws RowError */
export function decodeFeature(bytes: Buffer): Feature {
  return decodeRow<Feature>(bytes);
}

export function encodeFeatureVersion(version: FeatureVersion): Buffer {
  return encode(version);
}

/** Of what the id in the row's key tells. @throws RowError */
export function decodeAnyVersion<Version extends ConfigurationVersion | FeatureVersion>(
  bytes: Buffer,
): Version {
  return decodeRow<Version>(bytes);
}

export function encodeVersion(version: ConfigurationVersion): Buffer {
  return encode(version);
}

/** @throws RowError */
export function decodeVersion(bytes: Buffer): ConfigurationVersion {
  return decodeRow<ConfigurationVersion>(bytes);
}

export function encodeEnvironment(environment: Environment): Buffer {
  return encode(environment);
}

/** @throws RowError */
export function decodeEnvironment(bytes: Buffer): Environment {
  return decodeRow<Environment>(bytes);
}

export function encodeApplication(application: Application): Buffer {
  return encode(application);
}

/** @throws RowError */
export function decodeApplication(bytes: Buffer): Application {
  return decodeRow<Application>(bytes);
}

export function encodeChange(record: ChangeRecord): Buffer {
  return encode(record);
}

/** @throws RowError */
export function decodeChange(bytes: Buffer): ChangeRecord {
  return decodeRow<ChangeRecord>(bytes);
}

export function encodeChangeSet(changeSet: ChangeSet): Buffer {
  return encode(changeSet);
}

/** @throws RowError */
export function decodeChangeSet(bytes: Buffer): ChangeSet {
  return decodeRow<ChangeSet>(bytes);
}

/** What plain clients find: the JSON text of the value, of a secret its envelope. */
export function valueBytes(value: StoredValue): Buffer {
  return Buffer.from(JSON.stringify(value.type === 'secret' ? value.sealed : value.json));
}

function encode(row: { readonly format: 1 }): Buffer {
  return Buffer.from(JSON.stringify(row));
}
