import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { claimOf, freePorts } from '../../cluster/free-ports.ts';

test('ports are handed out once, and are marked as those of this process', async () => {
  const ports = [...(await freePorts(3)), ...(await freePorts(3))];
  expect(new Set(ports).size).toBe(6);
  const marks = ports.map((port) => readFileSync(claimOf(port), 'utf8'));
  expect(marks).toEqual(ports.map(() => String(process.pid)));
});
