import type { Kv } from '../../kv/kv.ts';
import { timeOf } from '../caller.ts';
import { invalid, ServiceError } from '../service-error.ts';
import { rangeVersions, readVersions, type StoredVersion } from './versions.ts';

/** When: a time in ISO 8601, or a revision of the store. */
export type PointInTime = { readonly time: string } | { readonly revision: number };

/** Of which configuration, and how many versions it has had. */
interface Versioned {
  readonly id: string;
  readonly version: number;
}

/** Versions that are read at a time while one is looked for; the newest are the likeliest. */
const STEP = 16;

/**
 * The version that stood at a point in time: the newest that is not later. Versions outlive the store's own history, so
 * that this works behind its compaction.
 *
 * @returns null when the configuration was made later
 * @throws ServiceError `gone` when retention took the version, `invalid` for what is no time
 */
export async function versionAt(
  kv: Kv,
  { entry, at }: { readonly entry: Versioned; readonly at: PointInTime },
  signal: AbortSignal,
): Promise<StoredVersion | null> {
  const isLater = laterThan(at);
  for (let last = entry.version; last >= 1; last -= STEP) {
    const first = Math.max(1, last - STEP + 1);
    const versions = await rangeVersions(kv, { id: entry.id, first, last }, signal);
    const found = versions.findLast((stored) => !isLater(stored));
    if (found !== undefined) return found;
    if (versions.length < last - first + 1) {
      throw new ServiceError('gone', 'what stood then was not kept');
    }
  }
  return null;
}

/** As `versionAt`, for many at once: most of them have not changed since. */
export async function versionsAt(
  kv: Kv,
  { entries, at }: { readonly entries: readonly Versioned[]; readonly at: PointInTime },
  signal: AbortSignal,
): Promise<readonly (StoredVersion | null)[]> {
  const isLater = laterThan(at);
  const newest = await readVersions(kv, entries, signal);
  const found: (StoredVersion | null)[] = [];
  for (const [index, entry] of entries.entries()) {
    const stored = newest[index] ?? null;
    const stands = stored !== null && !isLater(stored);
    found.push(stands ? stored : await versionAt(kv, { entry, at }, signal));
  }
  return found;
}

function laterThan(at: PointInTime): (stored: StoredVersion) => boolean {
  if ('revision' in at) {
    if (!Number.isSafeInteger(at.revision) || at.revision < 1) {
      throw invalid({ field: 'revision', message: 'must be a whole number from 1' });
    }
    return ({ revision }) => revision > at.revision;
  }
  const ms = timeOf(at.time);
  if (Number.isNaN(ms)) throw invalid({ field: 'time', message: 'is no time in ISO 8601' });
  return ({ version }) => Date.parse(version.createdAt) > ms;
}
