import { expect, test } from 'vitest';
import type { CliIo } from '../../src/cli/io.ts';
import { Progress } from '../../src/cli/progress.ts';

function logged(): { readonly io: CliIo; readonly lines: string[] } {
  const lines: string[] = [];
  const io: CliIo = {
    out: async () => {},
    err: (text) => {
      lines.push(text);
    },
    readPassword: async () => '',
    readStdin: async () => Buffer.alloc(0),
    env: {},
    interactive: false,
    interrupted: () => new AbortController().signal,
    wasInterrupted: () => false,
  };
  return { io, lines };
}

test('what is done within a second shows nothing', () => {
  const { io, lines } = logged();
  let now = 0;
  using progress = new Progress(io, { label: 'saving', totalBytes: 2048, nowMs: () => now });
  for (now = 0; now < 1000; now += 100) progress.update(now);
  expect(lines).toEqual([]);
});

test('after that a log gets a line at once and one every five seconds', () => {
  const { io, lines } = logged();
  let now = 0;
  using progress = new Progress(io, { label: 'saving', totalBytes: 20_480, nowMs: () => now });
  for (now = 0; now <= 12_000; now += 500) progress.update(now);
  expect(lines).toEqual([
    'saving: 1000 B of 20 KiB\n',
    'saving: 5.9 KiB of 20 KiB\n',
    'saving: 11 KiB of 20 KiB\n',
  ]);
});

test('while the whole is not known, what was done is shown', () => {
  const { io, lines } = logged();
  let now = 0;
  using progress = new Progress(io, { label: 'saving', totalBytes: 0, nowMs: () => now });
  now = 1000;
  progress.update(4096);
  expect(lines).toEqual(['saving: 4.0 KiB\n']);
});
