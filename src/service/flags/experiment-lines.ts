import { csvLine, csvText } from '../formats/csv.ts';
import type { Scope } from '../model.ts';
import { compareGroups, type Group, rateInterval } from './experiment-statistics.ts';
import type { ExposureSet } from './exposure-rows.ts';
import { UNIQUE_MAX } from './unique-count.ts';

/** How one variant of a flag does. Rates and differences are shares of 1. */
export interface ExperimentLine {
  readonly application: string;
  readonly environment: string;
  readonly flag: string;
  readonly variant: string;
  readonly isControl: boolean;
  /** When the first exposure was told, in ISO 8601. */
  readonly since: string;
  /** Different targeting keys, to 0.5 %; at most 1,000,000. */
  readonly exposures: number;
  readonly conversions: number;
  readonly rate: number;
  /** Of the rate, of 95 %. */
  readonly rateLow: number;
  readonly rateHigh: number;
  /** To the control's rate; null for the control, and where there is nothing to compare. */
  readonly difference: number | null;
  readonly differenceLow: number | null;
  readonly differenceHigh: number | null;
  /** Two-sided, that so great a difference is chance. */
  readonly pValue: number | null;
  readonly test: 'fisher' | 'z' | null;
  /** At 5 %, shared out among the variants that are compared (Bonferroni). */
  readonly isSignificant: boolean | null;
}

const SIGNIFICANCE = 0.05;
const DECIMALS = 6;

/** @param control what is to be it; where nobody got that, it is the first by name */
export function experimentLines(
  { since, variants }: ExposureSet,
  { scope, flag, control }: { readonly scope: Scope; readonly flag: string; readonly control: string | null },
): readonly ExperimentLine[] {
  const names = [...variants.keys()].sort();
  const first = control !== null && variants.has(control) ? control : names[0];
  if (first === undefined) return [];
  const groups = new Map(
    [...variants].map(([name, { exposed, converted }]) => [
      name,
      { size: exposed.count, hits: converted.count },
    ]),
  );
  const others = names.filter((name) => name !== first);
  return [first, ...others].map((variant) => {
    const group = groups.get(variant)!;
    const { application, environment } = scope;
    const name = { application, environment, flag, variant, isControl: variant === first, since };
    const comparison =
      variant === first ? NOTHING : compared(group, { control: groups.get(first)!, of: others.length });
    return { ...name, ...described(group), ...comparison };
  });
}

function described(group: Group) {
  const { low, high } = rateInterval(group);
  return {
    exposures: group.size,
    conversions: group.hits,
    rate: rounded(group.hits / group.size),
    rateLow: rounded(low),
    rateHigh: rounded(high),
  };
}

const NOTHING = {
  difference: null,
  differenceLow: null,
  differenceHigh: null,
  pValue: null,
  test: null,
  isSignificant: null,
};

/** @param of how many are compared with the control */
function compared(group: Group, { control, of }: { readonly control: Group; readonly of: number }) {
  // Of one that is full nobody knows how many there were.
  const isKnown = group.size < UNIQUE_MAX && control.size < UNIQUE_MAX;
  const comparison = isKnown ? compareGroups(group, control) : null;
  if (comparison === null) return NOTHING;
  const { difference, interval, p, test } = comparison;
  return {
    difference: rounded(difference),
    differenceLow: rounded(interval.low),
    differenceHigh: rounded(interval.high),
    pValue: p,
    test,
    isSignificant: p < SIGNIFICANCE / of,
  };
}

function rounded(share: number): number {
  return Number(share.toFixed(DECIMALS));
}

const COLUMNS = [
  'application',
  'environment',
  'flag',
  'variant',
  'isControl',
  'since',
  'exposures',
  'conversions',
  'rate',
  'rateLow',
  'rateHigh',
  'difference',
  'differenceLow',
  'differenceHigh',
  'pValue',
  'test',
  'isSignificant',
] as const satisfies readonly (keyof ExperimentLine)[];

/** As text: one JSON object a line, or CSV with the names of its columns first. */
export function experimentText(lines: readonly ExperimentLine[], format: 'json-lines' | 'csv'): string {
  if (format === 'json-lines') return lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const rows = lines.map((line) => csvLine(COLUMNS.map((column) => cellOf(line[column]))));
  return [csvLine(COLUMNS), ...rows].join('');
}

function cellOf(value: ExperimentLine[keyof ExperimentLine]): string {
  return typeof value === 'string' ? csvText(value) : String(value ?? '');
}
