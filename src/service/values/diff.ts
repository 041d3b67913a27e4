import { diffLines } from 'diff';
import type { Json } from '../model.ts';
import { isObject, memberOf, pointerToken, sameJson } from './json-limits.ts';

/** Beyond so many changes a value is shown as replaced by the other. */
export const CHANGES_MAX = 1_000;
/** Strings compared line by line; lines that may differ in one. Others are shown whole. */
export const LINE_DIFFS_MAX = 20;
export const LINE_EDITS_MAX = 500;

/** What happened at one place: a JSON pointer, of what was removed into the value before, else into the one after. */
export type Change =
  | { readonly type: 'added'; readonly pointer: string; readonly after: Json }
  | { readonly type: 'removed'; readonly pointer: string; readonly before: Json }
  | {
      readonly type: 'changed';
      readonly pointer: string;
      readonly before: Json;
      readonly after: Json;
      /** Of strings of several lines, where they do not differ too much: all lines, in order. */
      readonly lines: readonly LineChange[] | null;
    };
export interface LineChange {
  readonly type: 'added' | 'removed' | 'same';
  /** One or more lines, with their ends. */
  readonly text: string;
}

/** An operation of a JSON Patch (RFC 6902). */
export type PatchOperation =
  | { readonly op: 'add' | 'replace'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string };

export interface JsonDiff {
  /** For people. */
  readonly changes: readonly Change[];
  /** For programs: makes the one of the other, in this order. */
  readonly patch: readonly PatchOperation[];
}

/**
 * What differs between two values: objects member by member; lists without what they have in common at both ends, item
 * by item. In time linear in both. Undefined = there is none.
 */
export function diffJson(before: Json | undefined, after: Json | undefined): JsonDiff {
  const changes: Change[] = [];
  if (!collect(before, after, { pointer: '', changes })) {
    changes.splice(0, Number.POSITIVE_INFINITY, ...changeAt('', before, after));
  }
  return { changes: withLines(changes), patch: changes.map(operationOf) };
}

interface Place {
  readonly pointer: string;
  /** Where what is found goes. */
  readonly changes: Change[];
}

/** @returns false when there are too many changes */
function collect(before: Json | undefined, after: Json | undefined, place: Place): boolean {
  if (sameJson(before, after)) return true;
  if (isObject(before) && isObject(after)) return collectMembers(before, after, place);
  if (Array.isArray(before) && Array.isArray(after)) return collectItems(before, after, place);
  place.changes.push(...changeAt(place.pointer, before, after));
  return place.changes.length <= CHANGES_MAX;
}

function changeAt(pointer: string, before: Json | undefined, after: Json | undefined): Change[] {
  if (after === undefined) return before === undefined ? [] : [{ type: 'removed', pointer, before }];
  if (before === undefined) return [{ type: 'added', pointer, after }];
  return [{ type: 'changed', pointer, before, after, lines: null }];
}

type Members = { readonly [name: string]: Json };

function collectMembers(before: Members, after: Members, { pointer, changes }: Place): boolean {
  const added = Object.keys(after).filter((name) => !Object.hasOwn(before, name));
  return [...Object.keys(before), ...added].every((name) =>
    collect(memberOf(before, name), memberOf(after, name), {
      pointer: `${pointer}/${pointerToken(name)}`,
      changes,
    }),
  );
}

function collectItems(before: readonly Json[], after: readonly Json[], { pointer, changes }: Place): boolean {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && sameJson(before[head], after[head])) head += 1;
  let tail = 0;
  while (tail < shorter - head && sameJson(before.at(-1 - tail), after.at(-1 - tail))) tail += 1;
  for (let at = head; at < shorter - tail; at++) {
    if (!collect(before[at], after[at], { pointer: `${pointer}/${at}`, changes })) return false;
  }
  // From the end, so that those before it keep their places.
  for (let at = before.length - tail - 1; at >= shorter - tail; at--) {
    if (!collect(before[at], undefined, { pointer: `${pointer}/${at}`, changes })) return false;
  }
  for (let at = shorter - tail; at < after.length - tail; at++) {
    if (!collect(undefined, after[at], { pointer: `${pointer}/${at}`, changes })) return false;
  }
  return true;
}

function operationOf(change: Change): PatchOperation {
  switch (change.type) {
    case 'added':
      return { op: 'add', path: change.pointer, value: change.after };
    case 'removed':
      return { op: 'remove', path: change.pointer };
    case 'changed':
      return { op: 'replace', path: change.pointer, value: change.after };
  }
}

function withLines(changes: readonly Change[]): readonly Change[] {
  let left = LINE_DIFFS_MAX;
  return changes.map((change) => {
    if (change.type !== 'changed' || left === 0) return change;
    const { before, after } = change;
    if (typeof before !== 'string' || typeof after !== 'string') return change;
    if (!before.includes('\n') && !after.includes('\n')) return change;
    left -= 1;
    return { ...change, lines: linesOf(before, after) };
  });
}

function linesOf(before: string, after: string): readonly LineChange[] | null {
  const parts = diffLines(before, after, { maxEditLength: LINE_EDITS_MAX });
  if (parts === undefined) return null;
  return parts.map(({ value, added, removed }) => ({
    type: added ? 'added' : removed ? 'removed' : 'same',
    text: value,
  }));
}
