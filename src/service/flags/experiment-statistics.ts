import { errorFunction, gammaln } from 'simple-statistics';

/** Of 95 % on both sides. */
const Z_95 = 1.959963984540054;
/** Below so many expected in a cell the normal distribution is no good (Cochran's rule). */
const EXPECTED_MIN = 5;
/** p values are good to about 1e-7. */
const P_DECIMALS = 6;

/** How many did what was hoped for, of how many: `hits` is at most `size`. */
export interface Group {
  readonly hits: number;
  readonly size: number;
}

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** How a group does against the control. */
export interface GroupComparison {
  /** Of the rates; positive = better than the control. */
  readonly difference: number;
  /** Of the difference, of 95 %. */
  readonly interval: Interval;
  /** Two-sided, of "there is no difference", to six decimals. */
  readonly p: number;
  readonly test: 'fisher' | 'z';
}

/** Null where one of the groups is empty. */
export function compareGroups(group: Group, control: Group): GroupComparison | null {
  if (group.size === 0 || control.size === 0) return null;
  const hits = group.hits + control.hits;
  const size = group.size + control.size;
  const expected = (Math.min(hits, size - hits) * Math.min(group.size, control.size)) / size;
  const test = expected < EXPECTED_MIN ? 'fisher' : 'z';
  const p = test === 'fisher' ? fisherP(group, control) : twoProportionP(group, control);
  return {
    difference: rateOf(group) - rateOf(control),
    interval: differenceInterval(group, control),
    p: Number(Math.min(1, Math.max(0, p)).toFixed(P_DECIMALS)),
    test,
  };
}

/** Wilson's score interval of 95 % (1927), which is inside 0 and 1 also for few. @param group not empty */
export function rateInterval({ hits, size }: Group): Interval {
  const rate = hits / size;
  const z2 = Z_95 ** 2;
  const middle = (rate + z2 / (2 * size)) / (1 + z2 / size);
  const half = (Z_95 / (1 + z2 / size)) * Math.sqrt((rate * (1 - rate)) / size + z2 / (4 * size ** 2));
  return { low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

function rateOf({ hits, size }: Group): number {
  return hits / size;
}

/** Method 10 of Newcombe, "Interval estimation for the difference between independent proportions", 1998. */
function differenceInterval(group: Group, control: Group): Interval {
  const [p, q] = [rateOf(group), rateOf(control)];
  const [of, against] = [rateInterval(group), rateInterval(control)];
  return {
    low: p - q - Math.hypot(p - of.low, against.high - q),
    high: p - q + Math.hypot(of.high - p, q - against.low),
  };
}

/** With the rate of both together; without a correction for continuity. */
function twoProportionP(group: Group, control: Group): number {
  const pooled = (group.hits + control.hits) / (group.size + control.size);
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / group.size + 1 / control.size));
  return 1 - errorFunction(Math.abs(rateOf(group) - rateOf(control)) / error / Math.SQRT2);
}

/** The chance of all tables with the same sums that are no likelier than this one. */
function fisherP(group: Group, control: Group): number {
  const hits = group.hits + control.hits;
  const size = group.size + control.size;
  const all = logChoose(size, group.size);
  const logChance = (own: number) => logChoose(hits, own) + logChoose(size - hits, group.size - own) - all;
  // The same chance may come out a little different.
  const limit = logChance(group.hits) + 1e-7;
  const [first, last] = [Math.max(0, group.size - (size - hits)), Math.min(hits, group.size)];
  let p = 0;
  for (let own = first; own <= last; own += 1) {
    const chance = logChance(own);
    if (chance <= limit) p += Math.exp(chance);
  }
  return p;
}

function logChoose(size: number, chosen: number): number {
  return gammaln(size + 1) - gammaln(chosen + 1) - gammaln(size - chosen + 1);
}
