/** Semantic versions 2.0.0, and what people write for them: `v1.2.3`, `1.2`, `1`. */

/** The usual form, three numbers of which none is large. */
const PLAIN = /^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})$/;
const NONE: readonly string[] = [];
const CORE = /^[vV]?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?/;
const PRE_RELEASE =
  /^-((?:0|[1-9]\d*|\d*[A-Za-z-][\dA-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][\dA-Za-z-]*))*)/;
const BUILD = /^\+[\dA-Za-z-]+(?:\.[\dA-Za-z-]+)*$/;
const LENGTH_MAX = 256;

export interface SemanticVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  /** Empty = a release, which comes after all its pre-releases. */
  readonly preRelease: readonly string[];
}

/** @returns null for what is no version; a pre-release or build needs all three numbers, each below 2^53 */
export function parseVersion(text: string): SemanticVersion | null {
  if (text.length > LENGTH_MAX) return null;
  const plain = PLAIN.exec(text);
  if (plain !== null) {
    return { major: Number(plain[1]), minor: Number(plain[2]), patch: Number(plain[3]), preRelease: NONE };
  }
  const core = CORE.exec(text);
  if (core === null) return null;
  const [major, minor, patch] = [Number(core[1]), Number(core[2] ?? 0), Number(core[3] ?? 0)];
  if (!Number.isSafeInteger(major) || !Number.isSafeInteger(minor) || !Number.isSafeInteger(patch))
    return null;
  let rest = text.slice(core[0].length);
  if (rest === '') return { major, minor, patch, preRelease: NONE };
  if (core[3] === undefined) return null;
  const preRelease = PRE_RELEASE.exec(rest);
  if (preRelease !== null) rest = rest.slice(preRelease[0].length);
  if (rest !== '' && !BUILD.test(rest)) return null;
  return { major, minor, patch, preRelease: preRelease === null ? NONE : preRelease[1]!.split('.') };
}

/** Below 0, 0 or above 0, by the order of section 11 of the specification; builds do not count. */
export function compareVersions(left: SemanticVersion, right: SemanticVersion): number {
  const byNumbers = left.major - right.major || left.minor - right.minor || left.patch - right.patch;
  if (byNumbers !== 0) return byNumbers;
  if (left.preRelease.length === 0 || right.preRelease.length === 0)
    return right.preRelease.length - left.preRelease.length;
  const common = Math.min(left.preRelease.length, right.preRelease.length);
  for (let at = 0; at < common; at += 1) {
    const order = compareIdentifiers(left.preRelease[at]!, right.preRelease[at]!);
    if (order !== 0) return order;
  }
  return left.preRelease.length - right.preRelease.length;
}

/** Numbers by value and before words; words by their characters, which are ASCII. */
function compareIdentifiers(left: string, right: string): number {
  const [leftIsNumber, rightIsNumber] = [isNumber(left), isNumber(right)];
  if (leftIsNumber && rightIsNumber) return left.length - right.length || compareTexts(left, right);
  if (leftIsNumber !== rightIsNumber) return leftIsNumber ? -1 : 1;
  return compareTexts(left, right);
}

function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}

function compareTexts(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
