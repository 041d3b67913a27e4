import { decodeRow } from '../../config-format/rows.ts';

/** How often a flag answered the same. */
export interface UsageCount {
  readonly flag: string;
  /** Null = the caller's default. */
  readonly variant: string | null;
  readonly reason: string;
  /** Who evaluated, as far as the context says; null = unknown. */
  readonly service: string | null;
  readonly count: number;
}

interface UsageRow {
  readonly format: 1;
  readonly counts: readonly (readonly [
    flag: string,
    variant: string | null,
    reason: string,
    service: string | null,
    count: number,
  ])[];
}

export function encodeUsage(counts: readonly UsageCount[]): Buffer {
  const row: UsageRow = {
    format: 1,
    counts: counts.map(({ flag, variant, reason, service, count }) => [
      flag,
      variant,
      reason,
      service,
      count,
    ]),
  };
  return Buffer.from(JSON.stringify(row));
}

/** @throws RowError */
export function decodeUsage(bytes: Buffer): readonly UsageCount[] {
  return decodeRow<UsageRow>(bytes).counts.map(([flag, variant, reason, service, count]) => ({
    flag,
    variant,
    reason,
    service,
    count,
  }));
}
