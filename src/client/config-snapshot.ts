import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Json } from '../config-format/values.ts';
import type { ClientClock } from './clock.ts';
import { type HeldEntry, hiddenEntry, shownAs } from './config-entry.ts';
import type { ConfigScope } from './config-layers.ts';

/** Bytes of a snapshot file; a larger one is neither written nor read. */
export const SNAPSHOT_BYTES_MAX: number = 64 * 1024 * 1024;
/** Between the beginnings of two writings. */
export const SNAPSHOT_INTERVAL_MS = 1_000;

/** The values of an application as they were. */
export interface ConfigSnapshot {
  /** Everything up to it was in. */
  readonly revision: number;
  readonly entries: readonly HeldEntry[];
}

/** The file, as JSON. Secrets are named without what they hold. */
interface SnapshotFields extends ConfigScope {
  readonly format: 1;
  readonly savedAt: string;
  readonly revision: number;
  readonly entries: readonly SnapshotEntry[];
}
interface SnapshotEntry {
  readonly key: string;
  readonly type: HeldEntry['type'];
  readonly value?: Json;
  readonly environment: string | null;
  readonly revision: number;
}

interface SnapshotFileParts {
  readonly path: string;
  readonly scope: ConfigScope;
  readonly clock: ClientClock;
  /** Hears why the file could not be written; a later change tries again. */
  readonly onProblem: (error: Error) => void;
}

/**
 * A local file with the values as they were last, for starting while no member can be reached. It is replaced as a whole,
 * so that a reader sees one state or the next one, at most once a second, and may be read by its owner alone.
 */
export class SnapshotFile {
  readonly #parts: SnapshotFileParts;
  #take: (() => ConfigSnapshot) | null = null;
  #writing: Promise<void> | null = null;
  #callOff: (() => void) | null = null;
  #beganAtMs = Number.NEGATIVE_INFINITY;

  constructor(parts: SnapshotFileParts) {
    this.#parts = parts;
  }

  /**
   * What the file holds; null when there is none.
   *
   * @throws Error when it cannot be read, is of a format that is not known, or is that of another application
   */
  async read(): Promise<ConfigSnapshot | null> {
    const { path, scope } = this.#parts;
    const text = await readBounded(path);
    if (text === null) return null;
    const fields = JSON.parse(text) as Partial<SnapshotFields> | null;
    if (fields?.format !== 1 || !Array.isArray(fields.entries))
      throw new Error(`${path} is no snapshot of a format that is known`);
    const { tenant, environment, application, revision } = fields;
    if (tenant !== scope.tenant || environment !== scope.environment || application !== scope.application)
      throw new Error(`${path} is the snapshot of ${application} in ${environment} of ${tenant}`);
    return { revision: revision ?? 0, entries: fields.entries.map(held) };
  }

  /** The values have changed: they are written soon, as `take` has them by then. */
  save(take: () => ConfigSnapshot): void {
    this.#take = take;
    if (this.#writing !== null || this.#callOff !== null) return;
    const { clock } = this.#parts;
    const waitMs = this.#beganAtMs + SNAPSHOT_INTERVAL_MS - clock.nowMs();
    if (waitMs <= 0) this.#begin();
    else
      this.#callOff = clock.after(waitMs, () => {
        this.#callOff = null;
        this.#begin();
      });
  }

  /** Writes at once what is still to be written. */
  async flush(): Promise<void> {
    await this.#writing;
    this.#forgetDate();
    if (this.#take !== null) this.#begin();
    await this.#writing;
  }

  #forgetDate(): void {
    this.#callOff?.();
    this.#callOff = null;
  }

  #begin(): void {
    const take = this.#take;
    if (take === null) return;
    this.#take = null;
    this.#beganAtMs = this.#parts.clock.nowMs();
    this.#writing = this.#write(take()).finally(() => {
      this.#writing = null;
      if (this.#take !== null) this.save(this.#take);
    });
  }

  /** Never rejects. */
  async #write({ revision, entries }: ConfigSnapshot): Promise<void> {
    const { path, scope, onProblem } = this.#parts;
    const fields: SnapshotFields = {
      format: 1,
      ...scope,
      savedAt: new Date().toISOString(),
      revision,
      entries: entries.map(kept),
    };
    try {
      const bytes = Buffer.from(`${JSON.stringify(fields)}\n`);
      if (bytes.length > SNAPSHOT_BYTES_MAX) throw new Error(`${path} would have ${bytes.length} bytes`);
      await replace(path, bytes);
    } catch (error) {
      onProblem(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function kept({ key, type, json, environment, revision }: HeldEntry): SnapshotEntry {
  const isHidden = type === 'secret' || type === 'malformed';
  return { key, type, environment, revision, ...(isHidden ? {} : { value: json }) };
}

function held({ key, type, value, environment, revision }: SnapshotEntry): HeldEntry {
  const place = { key, environment, revision, source: 'snapshot' } as const;
  if (value !== undefined) return { ...place, ...shownAs(value) };
  return hiddenEntry(place, type === 'secret' ? 'secret' : 'malformed');
}

async function readBounded(path: string): Promise<string | null> {
  try {
    const { size } = await stat(path);
    if (size > SNAPSHOT_BYTES_MAX) throw new Error(`${path} has ${size} bytes`);
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Writes beside the file and renames, both made durable: a crash leaves the old file or the new one. */
async function replace(path: string, bytes: Buffer): Promise<void> {
  const partial = `${path}.${process.pid}.part`;
  try {
    // One that a crash has left may have other permissions.
    await rm(partial, { force: true });
    const file = await open(partial, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
