import type { KvRow } from '../../kv/kv.ts';
import type { Json } from '../model.ts';
import { isObject } from '../values/json-limits.ts';

/** How far the secrets of the store are sealed under one key. */
export interface Resealing {
  readonly keyId: string;
  /** When the server started that began with this key, in ms: a later start may want another one. */
  readonly startedMs: number;
  /** Whatever was put up to this revision is sealed under the key; 0 = that is not known of anything. */
  readonly revision: number;
}

/** Its row with the revision that a guard must name; 0 when there is none. */
export interface StoredResealing extends Resealing {
  readonly modRevision: number;
}

const NOTHING: Resealing = { keyId: '', startedMs: 0, revision: 0 };

export function encodeResealing({ keyId, startedMs, revision }: Resealing): Buffer {
  return Buffer.from(JSON.stringify({ format: 1, keyId, startedMs, revision }));
}

/** One that cannot be read is begun anew. */
export function decodeResealing(row: KvRow | undefined): StoredResealing {
  if (row === undefined) return { ...NOTHING, modRevision: 0 };
  return { ...(parsed(row.value) ?? NOTHING), modRevision: row.modRevision };
}

function parsed(bytes: Buffer): Resealing | null {
  try {
    const json = JSON.parse(bytes.toString()) as Json;
    if (!isObject(json) || json['format'] !== 1) return null;
    const { keyId, startedMs, revision } = json;
    if (typeof keyId !== 'string' || typeof startedMs !== 'number' || typeof revision !== 'number')
      return null;
    return { keyId, startedMs, revision };
  } catch {
    return null;
  }
}
