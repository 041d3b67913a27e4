import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a secret was found though it must not be there. */
export interface Leak {
  readonly where: string;
  readonly secret: string;
}

/** Looks for secrets in the clear in whatever a test lets it see: as they are, in base64, and escaped for JSON. */
export class LeakSearch {
  readonly leaks: Leak[] = [];
  /** So that a search that saw nothing is no proof. */
  bytesSeen = 0;
  readonly #needles: readonly { readonly secret: string; readonly bytes: Buffer }[];

  /** @param secrets long enough that nothing else looks like them */
  constructor(secrets: readonly string[]) {
    this.#needles = secrets.flatMap((secret) =>
      [
        secret,
        Buffer.from(secret).toString('base64').replace(/=+$/, ''),
        JSON.stringify(secret).slice(1, -1),
      ].map((form) => ({ secret, bytes: Buffer.from(form) })),
    );
  }

  look(where: string, what: string | Buffer): void {
    const bytes = Buffer.from(what);
    this.bytesSeen += bytes.length;
    for (const needle of this.#needles) {
      if (bytes.includes(needle.bytes)) this.leaks.push({ where, secret: needle.secret });
    }
  }

  /** Every file below a directory; those that vanish meanwhile are passed over. */
  async lookInFiles(directory: string): Promise<void> {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    for (const entry of entries) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      try {
        this.look(path, await readFile(path));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }
}
