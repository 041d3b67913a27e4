import { SIGN_IN_LIMITS, type SignInLimits } from '../../identity.ts';

/** What REST requests may take. */
export interface RestLimits extends SignInLimits {
  /** Bytes of a body: a value of 512 KiB, its quotes and line ends escaped, has room. */
  readonly bodyBytesMax: number;
  /** Bytes of a text that is imported: 8 Mi characters, of which many may be none of ASCII. */
  readonly importBytesMax: number;
  /** Bytes of all bodies that are being received or worked on; further requests with a body are refused. */
  readonly heldBytesMax: number;
  /** Requests under way; further ones are refused. */
  readonly requestsMax: number;
  /** Exports of the audit under way, of which each holds a page in memory; further ones are refused. */
  readonly auditExportsMax: number;
}

export const REST_LIMITS_DEFAULT: RestLimits = {
  bodyBytesMax: 4 * 1024 * 1024,
  importBytesMax: 16 * 1024 * 1024,
  heldBytesMax: 128 * 1024 * 1024,
  requestsMax: 5_000,
  auditExportsMax: 8,
  ...SIGN_IN_LIMITS,
};

/** Field problems that one answer tells. */
export const PROBLEMS_MAX = 100;
/** The greatest bound of staleness, in milliseconds: about 25 days, as over gRPC. */
export const MAX_STALENESS_MS_MAX: number = 2 ** 31;
/** Characters of one part of a path, as they are sent. */
export const PATH_PART_LENGTH_MAX = 1_000;
/** A body of which, when something is wrong with it, everything is told; of larger ones the first. */
export const CHECKED_WHOLE_BYTES_MAX: number = 64 * 1024;
