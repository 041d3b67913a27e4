import type { HistoryOp, Violation } from './history.ts';

/** More tell nothing that these do not. */
export const VIOLATIONS_MAX = 20;

/** The violations of one check, the first `VIOLATIONS_MAX` of them. */
export class Findings {
  readonly #list: Violation[] = [];

  get list(): readonly Violation[] {
    return this.#list;
  }

  add(rule: string, message: string): void {
    if (this.#list.length < VIOLATIONS_MAX) this.#list.push({ rule, message });
  }
}

/** One operation on one line, for people. */
export function describeOp(op: HistoryOp): string {
  const times = `[${op.callTime}, ${op.returnTime}]`;
  return `client ${op.client} ${times} ${describe(op.request)} -> ${describe(op.outcome)}`;
}

/** A value with its bytes as text. */
export function describe(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return `${item}n`;
    return isBufferJson(item) ? Buffer.from(item.data).toString('latin1') : item;
  });
}

/** `JSON.stringify` hands over a Buffer after its own `toJSON`. */
function isBufferJson(item: unknown): item is { readonly data: readonly number[] } {
  return (
    typeof item === 'object' && item !== null && 'type' in item && item.type === 'Buffer' && 'data' in item
  );
}
