/** One run of lines that a diff replaces. Each line keeps its end. */
interface Hunk {
  /** Where the lines stand, from 0, if nothing above them has moved since. */
  readonly at: number;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** What a unified diff does to one existing file. */
export interface FileDiff {
  /** Relative to the root of the repository. */
  readonly path: string;
  readonly hunks: readonly Hunk[];
}

const HUNK_HEAD = /^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@/;

/**
 * Reads a unified diff of existing text files. Lines before the first `---` are a comment.
 *
 * @throws Error for anything that is no such diff
 */
export function parseDiff(text: string): readonly FileDiff[] {
  const lines = text.split('\n');
  const files: { path: string; hunks: Hunk[] }[] = [];
  for (let i = lines.findIndex((line) => line.startsWith('--- ')); i >= 0 && i < lines.length; ) {
    const line = lines[i]!;
    const head = HUNK_HEAD.exec(line);
    if (line.startsWith('--- ')) {
      const path = /^\+\+\+ b\/(\S+)$/.exec(lines[i + 1] ?? '')?.[1];
      if (path === undefined) throw new Error(`line ${i + 2} of the diff names no file`);
      files.push({ path, hunks: [] });
      i += 2;
    } else if (head !== null && files.length > 0) {
      const end = endOfHunk(lines, i + 1);
      files.at(-1)!.hunks.push(hunkOf(Number(head[1]) - 1, lines.slice(i + 1, end)));
      i = end;
    } else if (line === '' && i === lines.length - 1) {
      break;
    } else {
      throw new Error(`line ${i + 1} of the diff: ${line}`);
    }
  }
  if (files.length === 0 || files.some(({ hunks }) => hunks.length === 0)) throw new Error('an empty diff');
  return files;
}

/**
 * The text after a diff. Every hunk must match exactly; where the text has moved it must match in one place only.
 *
 * @throws Error when one does not
 */
export function applyDiff(text: string, { path, hunks }: FileDiff): string {
  const lines = text.split('\n');
  let from = 0;
  let moved = 0;
  for (const { at, before, after } of hunks) {
    const found = place(lines, { before, from, expected: at + moved });
    if (found === null) throw new Error(`${path}: the hunk at line ${at + 1} does not match in one place`);
    lines.splice(found, before.length, ...after);
    from = found + after.length;
    moved = from - at - before.length;
  }
  return lines.join('\n');
}

/** Hunks of an existing file have only lines that are kept, taken out or put in. */
function endOfHunk(lines: readonly string[], from: number): number {
  let end = from;
  while (end < lines.length && /^[ +-]/.test(lines[end]!) && !lines[end]!.startsWith('--- a/')) end += 1;
  return end;
}

function hunkOf(at: number, body: readonly string[]): Hunk {
  const without = (sign: string): string[] =>
    body.filter((line) => !line.startsWith(sign)).map((line) => line.slice(1));
  return { at, before: without('+'), after: without('-') };
}

function place(
  lines: readonly string[],
  hunk: { readonly before: readonly string[]; readonly from: number; readonly expected: number },
): number | null {
  const { before, from, expected } = hunk;
  const matches = (at: number): boolean => before.every((line, i) => lines[at + i] === line);
  if (expected >= from && matches(expected)) return expected;
  const places: number[] = [];
  for (let at = from; at + before.length <= lines.length; at++) if (matches(at)) places.push(at);
  return places.length === 1 ? places[0]! : null;
}
