import type { RoutedCall } from './channels.ts';
import { ClientError } from './client-error.ts';
import type { Trailers } from './connection.ts';

/** The largest bound that members take, in ms: about 25 days. */
export const STALENESS_MS_MAX = 2 ** 31;

/** How a read may be answered. */
export interface ReadBounds {
  readonly serializable?: boolean;
  readonly maxStalenessMs?: number;
}

/** What a member proved with its answer to a bounded read. */
export interface ProvenAge {
  /**
   * When the member answered, it knew of everything that had been acknowledged more than so many ms before. Absent =
   * unknown, as on a real etcd, and wherever no bound was asked for.
   */
  readonly ageMs?: number;
  /** Where the member runs; absent when it does not say. */
  readonly region?: string;
}

/**
 * Sends a read so that its bounds are heeded, and joins what the member proved to the answer.
 *
 * @throws ClientError `invalid-argument` for a bound that is no natural number up to 2^31
 */
export async function readWithin<T extends object>(
  { serializable = false, maxStalenessMs }: ReadBounds,
  send: (call: Pick<RoutedCall, 'kind' | 'maxStalenessMs' | 'onTrailers'>) => Promise<T>,
): Promise<T & ProvenAge> {
  let proven: ProvenAge = {};
  if (maxStalenessMs === undefined)
    return Object.assign(await send({ kind: serializable ? 'local' : 'quorum' }), proven);
  if (!Number.isInteger(maxStalenessMs) || maxStalenessMs < 0 || maxStalenessMs > STALENESS_MS_MAX) {
    const text = `maxStalenessMs is ${maxStalenessMs}, but must be a natural number up to 2^31`;
    throw new ClientError('invalid-argument', text, { unsent: true });
  }
  const onTrailers = (trailers: Trailers): void => {
    proven = provenAge(trailers);
  };
  const answer = await send({ kind: 'local', maxStalenessMs, onTrailers });
  return Object.assign(answer, proven);
}

function provenAge(trailers: Trailers): ProvenAge {
  const age = trailers('age-ms');
  const region = trailers('region');
  return {
    ...(age !== undefined && /^\d+$/.test(age) && { ageMs: Number(age) }),
    ...(region !== undefined && { region }),
  };
}
