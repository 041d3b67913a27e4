import type { Kv, KvOp, KvRow } from '../../kv/kv.ts';
import { versionKey } from '../keyspace.ts';
import { asService } from '../kv-errors.ts';
import type { ConfigurationVersion, FeatureVersion } from '../model.ts';
import { decodeAnyVersion } from '../rows.ts';
import { ServiceError } from '../service-error.ts';

/** Of a configuration, or of a flag or segment: an id has those of one kind. */
export type AnyVersion = ConfigurationVersion | FeatureVersion;

/** A version as it is stored, with the revision at which it was made; only the seal of a secret is ever put anew. */
export interface StoredVersion<Version extends AnyVersion = ConfigurationVersion> {
  readonly version: Version;
  readonly revision: number;
}

/** Of which configuration, which version. */
export interface VersionId {
  readonly id: string;
  readonly version: number;
}

/** Ranges of one transaction. */
const READS_MAX = 100;

/**
 * Versions as they were written, which never changes; in the order in which they were asked for.
 *
 * @returns null for one that is not there
 * @throws ServiceError
 */
export async function readVersions<Version extends AnyVersion = ConfigurationVersion>(
  kv: Kv,
  ids: readonly VersionId[],
  signal: AbortSignal,
): Promise<readonly (StoredVersion<Version> | null)[]> {
  const found: (StoredVersion<Version> | null)[] = [];
  for (let at = 0; at < ids.length; at += READS_MAX) {
    const success = ids.slice(at, at + READS_MAX).map(({ id, version }): KvOp => {
      return { type: 'range', key: versionKey(id, version) };
    });
    const answer = await asService(
      kv.txn({ compare: [], success, failure: [] }, { principal: { type: 'service' }, signal }),
    );
    for (const response of answer.responses) {
      found.push(response.type === 'range' ? storedVersionOf(response.rows[0]) : null);
    }
  }
  return found;
}

/** @throws ServiceError `not-found` */
export async function readVersion<Version extends AnyVersion = ConfigurationVersion>(
  kv: Kv,
  wanted: VersionId,
  signal: AbortSignal,
): Promise<StoredVersion<Version>> {
  const [found] = await readVersions<Version>(kv, [wanted], signal);
  if (found === undefined || found === null) throw noVersion(wanted.version);
  return found;
}

/** The versions from `first` to `last`, oldest first; those that retention took are left out. @throws ServiceError */
export async function rangeVersions<Version extends AnyVersion = ConfigurationVersion>(
  kv: Kv,
  { id, first, last }: { readonly id: string; readonly first: number; readonly last: number },
  signal: AbortSignal,
): Promise<readonly StoredVersion<Version>[]> {
  const answer = await asService(
    kv.range(
      {
        key: versionKey(id, first),
        rangeEnd: versionKey(id, last + 1),
        consistency: { type: 'linearizable' },
      },
      { principal: { type: 'service' }, signal },
    ),
  );
  return answer.rows.map((row) => storedVersionOf<Version>(row)!);
}

/** There is no such version. */
function noVersion(version: number): ServiceError {
  const message = `there is no version ${version}`;
  return new ServiceError('not-found', message, { problems: [{ field: 'version', message }] });
}

function storedVersionOf<Version extends AnyVersion>(row: KvRow | undefined): StoredVersion<Version> | null {
  // A secret may have been sealed anew since.
  return row === undefined
    ? null
    : { version: decodeAnyVersion<Version>(row.value), revision: row.createRevision };
}
