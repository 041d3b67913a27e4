import type { RpcCall } from '../../rpc/server.ts';
import { RpcError, rpcStatus } from '../../rpc/status.ts';
import type { EtcdBackend } from './backend.ts';

/** Request metadata of this project: how old the answer of a read may be, in milliseconds. */
const MAX_STALENESS = 'max-staleness-ms';
/** The greatest there is, about 25 days. */
export const MAX_STALENESS_MS_MAX = 2 ** 31;

/**
 * What a call says of how old its answer may be, or undefined.
 *
 * @throws RpcError `invalid-argument` for anything but a whole number up to MAX_STALENESS_MS_MAX
 */
export function maxStalenessMsOf(call: Pick<RpcCall, 'metadata'>): number | undefined {
  const text = call.metadata(MAX_STALENESS);
  if (text === undefined) return undefined;
  const ms = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (ms <= MAX_STALENESS_MS_MAX) return ms;
  throw new RpcError(
    rpcStatus.invalidArgument,
    `${MAX_STALENESS}: '${text}' is not a whole number of milliseconds up to ${MAX_STALENESS_MS_MAX}`,
  );
}

/** Sends the age of a bounded read's answer, and where the member is that gave it, after the answer. */
export function tellAge(
  call: Pick<RpcCall, 'setTrailer'>,
  { region }: Pick<EtcdBackend, 'region'>,
  ageMs: number,
): void {
  call.setTrailer('age-ms', String(ageMs));
  if (region !== '') call.setTrailer('region', region);
}
