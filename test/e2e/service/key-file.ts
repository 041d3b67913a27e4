import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file with a key that secrets are sealed with, in a directory of its own. */
export class KeyFile {
  readonly #directory = mkdtempSync(join(tmpdir(), 'conclave-keys-'));
  readonly flag: string;

  constructor() {
    const path = join(this.#directory, 'keys');
    writeFileSync(path, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
    this.flag = `--secret-key-file=${path}`;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
