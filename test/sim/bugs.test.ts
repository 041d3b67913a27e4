import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readBugs, repositoryRoot } from './bugs.ts';
import { applyDiff, parseDiff } from './unified-diff.ts';

const root = repositoryRoot();
const found = await readBugs(root, 'found');
const open = await readBugs(root, 'open');
/** Issue and guarantees promise this many. */
const BUGS_MIN = 35;

describe('bugs to put back', () => {
  test('there are at least as many as were promised', () => {
    expect(found.length).toBeGreaterThanOrEqual(BUGS_MIN);
  });

  test.each([...found, ...open])('$name applies to the sources as they are', async ({ patch }) => {
    for (const diff of parseDiff(patch)) {
      expect(diff.path).toMatch(/^src\/(core|member|client)\//);
      const before = await readFile(join(root, diff.path), 'utf8');
      expect(applyDiff(before, diff)).not.toBe(before);
    }
  });
});

const DIFF = `# P-1: what it is
--- a/one.ts
+++ b/one.ts
@@ -2,3 +2,3 @@
 b
-c
+C
 d
`;

describe('a unified diff', () => {
  const [diff] = parseDiff(DIFF);

  test('applies where it was made, and where the text has moved', () => {
    expect(applyDiff('a\nb\nc\nd\n', diff!)).toBe('a\nb\nC\nd\n');
    expect(applyDiff('0\na\nb\nc\nd\n', diff!)).toBe('0\na\nb\nC\nd\n');
  });

  test('is refused where its lines are others, or stand in two places', () => {
    expect(() => applyDiff('a\nb\nx\nd\n', diff!)).toThrow('does not match');
    expect(() => applyDiff('b\nc\nd\nb\nc\nd\n', diff!)).toThrow('does not match');
  });

  test('is refused when it changes nothing or is none', () => {
    expect(() => parseDiff('# P-1: no diff\n')).toThrow('empty');
    expect(() => parseDiff(`${DIFF}nonsense\n`)).toThrow('nonsense');
  });
});
