/** At most eight digits and a unit (gRPC over HTTP/2, "Timeout"). */
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
/** Milliseconds that a unit stands for. */
const UNITS_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
};

/**
 * What a `grpc-timeout` header gives a call, in milliseconds, parts of one included.
 *
 * @param text the header's value; undefined = there is none: Infinity
 * @returns null when it is malformed
 */
export function timeoutMsOf(text: string | undefined): number | null {
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const match = TIMEOUT.exec(text);
  return match === null ? null : Number(match[1]) * UNITS_MS[match[2]!]!;
}
