import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The directory that holds package.json, for sources and for what was built of them alike. */
export function repositoryRoot(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return directory;
}
