import { plainText } from './config-words.ts';
import { oneLine, visible } from './visible.ts';

/** One place where two values differ, as the service tells it. */
export interface JsonChange {
  readonly type: 'added' | 'removed' | 'changed';
  /** A JSON pointer; empty for the value itself. */
  readonly pointer: string;
  readonly before?: unknown;
  readonly after?: unknown;
  /** Of strings of several lines. */
  readonly lines?: readonly { readonly type: 'added' | 'removed' | 'same'; readonly text: string }[] | null;
}
export interface JsonDiff {
  readonly changes: readonly JsonChange[];
  /** A JSON Patch. */
  readonly patch: readonly unknown[];
}

const SIGNS = { added: '+', removed: '-', changed: '~', same: ' ' } as const;

/** A difference for people, a line for each place: `~ /pool/max: 10 -> 20`. */
export function diffLines(diff: JsonDiff | null, indent = ''): string {
  if (diff === null) return `${indent}(a secret: what differs is not shown)\n`;
  return diff.changes.map((change) => changeLines(change, indent)).join('');
}

function changeLines(change: JsonChange, indent: string): string {
  const { type, pointer, before, after, lines } = change;
  const place = pointer === '' ? '' : `${oneLine(pointer)}: `;
  if (lines !== undefined && lines !== null) {
    const shown = lines.flatMap(({ type: kind, text }) =>
      text
        .replace(/\n$/, '')
        .split('\n')
        .map((line) => `${indent}  ${SIGNS[kind]} ${visible(line)}\n`),
    );
    return `${indent}${SIGNS.changed} ${pointer === '' ? 'the text' : oneLine(pointer)}:\n${shown.join('')}`;
  }
  switch (type) {
    case 'added':
      return `${indent}${SIGNS.added} ${place}${plainText(after)}\n`;
    case 'removed':
      return `${indent}${SIGNS.removed} ${place}${plainText(before)}\n`;
    case 'changed':
      return `${indent}${SIGNS.changed} ${place}${plainText(before)} -> ${plainText(after)}\n`;
  }
}
