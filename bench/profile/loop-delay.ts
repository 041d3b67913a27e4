/** What a probe saw of a member's event loop, in milliseconds by which a timer came late. */
export interface LoopDelay {
  readonly count: number;
  readonly meanMs: number;
  readonly maxMs: number;
  /** Ascending; the last is 100. */
  readonly percentiles: readonly (readonly [percent: number, ms: number])[];
}

/** How many timers came how late. */
export interface DelayBucket {
  readonly fromMs: number;
  readonly belowMs: number;
  readonly count: number;
}

const BOUNDS_MS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];
const BAR_WIDTH = 50;

/** The latest at `percent`. */
export function delayAt({ percentiles }: LoopDelay, percent: number): number {
  return percentiles.find(([at]) => at >= percent)?.[1] ?? Number.NaN;
}

/** The histogram in powers of two, up to the bucket of the longest delay. */
export function delayBuckets(delay: LoopDelay): readonly DelayBucket[] {
  const buckets: DelayBucket[] = [];
  let below = 0;
  for (const [at, fromMs] of BOUNDS_MS.entries()) {
    const belowMs = BOUNDS_MS[at + 1] ?? Number.POSITIVE_INFINITY;
    const upTo = Math.round((shareBelow(delay, belowMs) * delay.count) / 100);
    buckets.push({ fromMs, belowMs, count: upTo - below });
    below = upTo;
    if (delay.maxMs < belowMs) break;
  }
  return buckets;
}

/** The histogram as lines of text. */
export function delayChart(delay: LoopDelay): string {
  const buckets = delayBuckets(delay);
  const most = Math.max(1, ...buckets.map(({ count }) => count));
  return buckets
    .map(({ fromMs, belowMs, count }) => {
      const name = `${fromMs} to ${Number.isFinite(belowMs) ? `${belowMs} ms` : 'more'}`;
      return `  ${name.padEnd(16)} ${String(count).padStart(7)} ${'#'.repeat(Math.ceil((count / most) * BAR_WIDTH))}`;
    })
    .join('\n');
}

/** Percent of the delays that are below `ms`, as far as the percentiles tell. */
function shareBelow({ percentiles }: LoopDelay, ms: number): number {
  let share = 0;
  for (const [percent, delayMs] of percentiles) if (delayMs < ms) share = percent;
  return share;
}
