/** The value below which `percent` of the values lie; NaN when there are none. */
export function percentile(values: readonly number[], percent: number): number {
  return at(values.toSorted(ascending), percent);
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** How a set of durations is spread, in their unit. All NaN when there are none. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted(ascending);
  return {
    p50: at(sorted, 50),
    p99: at(sorted, 99),
    p999: at(sorted, 99.9),
    max: sorted.at(-1) ?? Number.NaN,
  };
}

function at(sorted: readonly number[], percent: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN;
}

function ascending(left: number, right: number): number {
  return left - right;
}
