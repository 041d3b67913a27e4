import { unreachable } from '../../lib/assert.ts';
import type { History } from './history.ts';
import type { Compare, CompareResult } from './operations.ts';
import { liveSlots } from './range.ts';

/** Whether all comparisons hold at the current revision. */
export function compareAll(history: History, compares: readonly Compare[]): boolean {
  return compares.every((compare) => compareOne(history, compare));
}

/**
 * One comparison, with etcd's rules: every live key of the range must satisfy it. Where there is no key, a value
 * never does, and everything else is compared as 0.
 */
function compareOne(history: History, compare: Compare): boolean {
  const slots = liveSlots(history, compare);
  if (slots.length > 0)
    return slots.every((slot) => holds(compare.result, difference(history, compare, slot)));
  if (compare.target === 'value') return false;
  if (compare.target === 'lease') return holds(compare.result, differenceOf(0n, compare.lease));
  return holds(compare.result, differenceOf(0, compare.number));
}

/** Negative, 0 or positive as the key's field is below, at or above the given one. */
function difference(history: History, compare: Compare, slot: number): number {
  const { table } = history;
  switch (compare.target) {
    case 'version':
      return differenceOf(table.version(slot), compare.number);
    case 'create':
      return differenceOf(table.createRevision(slot), compare.number);
    case 'mod':
      return differenceOf(table.main(slot), compare.number);
    case 'lease':
      return differenceOf(table.lease(slot), compare.lease);
    case 'value':
      return Buffer.compare(history.load(slot).value, compare.value);
    default:
      return unreachable(compare);
  }
}

function differenceOf<T extends number | bigint>(left: T, right: T): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

function holds(result: CompareResult, difference: number): boolean {
  switch (result) {
    case 'equal':
      return difference === 0;
    case 'not-equal':
      return difference !== 0;
    case 'greater':
      return difference > 0;
    case 'less':
      return difference < 0;
    default:
      return unreachable(result);
  }
}
