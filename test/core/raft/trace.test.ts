import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Trace } from './trace.ts';

const TRACES = fileURLToPath(new URL('traces/', import.meta.url));

/**
 * Each file is commands (`> …`), their output, and prose (`# …`, empty lines). Running it must give the file itself.
 * `REWRITE=1` writes what it gives instead; the difference is then for a person to judge.
 */
for (const file of readdirSync(TRACES).filter((name) => name.endsWith('.txt'))) {
  test(`the script ${file} runs as written`, () => {
    const expected = readFileSync(TRACES + file, 'utf8');
    const actual = runScript(expected);
    if (process.env['REWRITE'] === '1') writeFileSync(TRACES + file, actual);
    else expect(actual).toBe(expected);
  });
}

function runScript(script: string): string {
  const trace = new Trace();
  const lines: string[] = [];
  for (const line of script.trimEnd().split('\n')) {
    const isProse = line === '' || line.startsWith('#');
    if (isProse) lines.push(line);
    if (line.startsWith('> ')) lines.push(line, ...trace.run(line.slice(2)));
  }
  return `${lines.join('\n')}\n`;
}
