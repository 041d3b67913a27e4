import { readFileSync } from 'node:fs';

const LINE = /^Max open files\s+(\d+|unlimited)\s/m;

/**
 * How many files and connections this process may have open: its soft limit, which Node has raised to the hard one.
 *
 * @returns null where the system does not tell, which is everywhere but on Linux
 */
export function descriptorsMax(read: () => string = readLimits): number | null {
  try {
    const found = LINE.exec(read())?.[1];
    if (found === undefined) return null;
    return found === 'unlimited' ? Infinity : Number(found);
  } catch {
    return null;
  }
}

function readLimits(): string {
  return readFileSync('/proc/self/limits', 'utf8');
}
