import { open, stat } from 'node:fs/promises';
import type { StateMarker } from '../../src/core/state.ts';
import { decodeMarker } from '../../src/member/storage/schema.ts';

/** A write that no sync is known to have covered. */
export interface OpenWrite {
  readonly offset: number;
  readonly length: number;
}

/** A change of a directory that no sync is known to have covered. */
export type OpenChange =
  | { readonly type: 'create'; readonly path: string }
  /** `kept`: what the new file took the place of, or null. */
  | { readonly type: 'rename'; readonly from: string; readonly to: string; readonly kept: string | null }
  | { readonly type: 'remove'; readonly path: string; readonly kept: string };

interface Line {
  readonly id?: number;
  readonly began?: string;
  readonly ended?: string;
  readonly create?: string;
  readonly write?: string;
  readonly offset?: number;
  readonly length?: number;
  readonly datasync?: string;
  readonly rename?: string;
  readonly remove?: string;
  readonly to?: string;
  readonly kept?: string | null;
  readonly syncDirectory?: string;
  readonly names?: readonly string[];
  readonly batch?: string;
  readonly marks?: readonly (readonly [string, string])[];
  readonly syncedLog?: string;
  readonly log?: string;
  readonly bytes?: number;
}

interface Numbered<T> {
  readonly id: number;
  ended: boolean;
  readonly what: T;
}

const BARRIER_LETTER = 'b'.charCodeAt(0);

/**
 * What a process wrote down of its own steps, read on while it runs: at any moment, which of its writes may be lost
 * with the power. A sync covers what had ended when it began, and counts when it has ended itself.
 */
export class CrashJournal {
  readonly #path: string;
  #readBytes = 0;
  #rest = '';
  readonly #writes = new Map<string, Numbered<OpenWrite>[]>();
  readonly #changes = new Map<string, Numbered<OpenChange>[]>();
  /** By the id of a running sync: forgets what it covers. */
  readonly #covers = new Map<number, () => void>();
  readonly #running = new Map<number, () => void>();
  readonly #syncedLogs = new Map<string, number>();
  readonly #namedFiles = new Map<string, ReadonlySet<string>>();
  readonly #markers = new Map<string, StateMarker>();
  #barrierWritten = 0;
  #barrier = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** Reads what was written since the last call. */
  async readOn(): Promise<void> {
    const { size } = await stat(this.#path);
    const bytes = Buffer.alloc(size - this.#readBytes);
    const file = await open(this.#path, 'r');
    try {
      await file.read(bytes, 0, bytes.length, this.#readBytes);
    } finally {
      await file.close();
    }
    this.#readBytes = size;
    const lines = (this.#rest + bytes.toString()).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#take(JSON.parse(line) as Line);
  }

  /** By path, in the order of the writes. */
  openWrites(): ReadonlyMap<string, readonly OpenWrite[]> {
    return new Map([...this.#writes].map(([path, writes]) => [path, writes.map(({ what }) => what)]));
  }

  /** Of one directory after the other, oldest first. Those that may still be under way are left out. */
  openChanges(): readonly (readonly OpenChange[])[] {
    return [...this.#changes.values()].map((list) =>
      list.filter(({ ended }) => ended).map(({ what }) => what),
    );
  }

  /** How many bytes of a log of LevelDB are durable. */
  syncedLogBytes(state: string, name: string): number {
    return this.#syncedLogs.get(`${state}/${name}`) ?? 0;
  }

  /** True when a sync of the state's directory has covered the name. */
  isNamed(state: string, name: string): boolean {
    return this.#namedFiles.get(state)?.has(name) ?? false;
  }

  /** The state as the process described it at a position, by `positionOf`. */
  get markers(): ReadonlyMap<string, StateMarker> {
    return this.#markers;
  }

  /** The applied index of the newest barrier that is durable. */
  get barrier(): number {
    return this.#barrier;
  }

  #take(line: Line): void {
    if (line.syncedLog !== undefined) this.#syncedLogs.set(`${line.syncedLog}/${line.log}`, line.bytes!);
    else if (line.began !== undefined) this.#began(line);
    else if (line.ended !== undefined) this.#ended(line);
  }

  #began(line: Line): void {
    const id = line.id!;
    if (line.write !== undefined) {
      const write = { id, ended: false, what: { offset: line.offset!, length: line.length! } };
      listOf(this.#writes, line.write).push(write);
      this.#running.set(id, () => {
        write.ended = true;
      });
    } else if (line.datasync !== undefined) {
      const path = line.datasync;
      const covered = listOf(this.#writes, path).filter(({ ended }) => ended);
      this.#covers.set(id, () => forget(listOf(this.#writes, path), covered));
    } else if (line.syncDirectory !== undefined) {
      this.#directorySync(id, line.syncDirectory, line.names!);
    } else if (line.create !== undefined) {
      this.#change({ type: 'create', path: line.create }, { id, ended: true });
    } else if (line.rename !== undefined) {
      this.#rename(id, { from: line.rename, to: line.to!, kept: line.kept ?? null });
    } else if (line.remove !== undefined && typeof line.kept === 'string') {
      const { remove: path, kept } = line;
      this.#writes.delete(path);
      this.#change({ type: 'remove', path, kept }, { id, ended: false });
    } else if (line.batch !== undefined) {
      this.#batch(id, line.marks!);
    }
  }

  #ended({ id }: Line): void {
    this.#running.get(id!)?.();
    this.#running.delete(id!);
    this.#covers.get(id!)?.();
    this.#covers.delete(id!);
  }

  #directorySync(id: number, directory: string, names: readonly string[]): void {
    const covered = listOf(this.#changes, directory).filter(({ ended }) => ended);
    const barrier = this.#barrierWritten;
    this.#covers.set(id, () => {
      forget(listOf(this.#changes, directory), covered);
      this.#namedFiles.set(directory, new Set(names));
      if (directory.startsWith('state-')) this.#barrier = Math.max(this.#barrier, barrier);
    });
  }

  #rename(id: number, { from, to, kept }: Omit<OpenChange & { readonly type: 'rename' }, 'type'>): void {
    const writes = this.#writes.get(from);
    this.#change({ type: 'rename', from, to, kept }, { id, ended: false });
    this.#writes.delete(from);
    if (writes !== undefined) this.#writes.set(to, writes);
  }

  #change(what: OpenChange, { id, ended }: { readonly id: number; readonly ended: boolean }): void {
    const path = what.type === 'rename' ? what.to : what.path;
    const change = { id, ended, what };
    listOf(this.#changes, path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '').push(change);
    this.#running.set(id, () => {
      change.ended = true;
    });
  }

  #batch(id: number, marks: readonly (readonly [string, string])[]): void {
    for (const [keyHex, valueHex] of marks) {
      const key = Buffer.from(keyHex, 'hex');
      // Not by its key, which cannot say that nothing was compacted yet.
      const marker = decodeMarker(key, Buffer.from(valueHex, 'hex'));
      this.#markers.set(positionOf(marker), marker);
      if (key[0] !== BARRIER_LETTER) continue;
      this.#running.set(id, () => {
        this.#barrierWritten = marker.appliedIndex;
      });
    }
  }
}

/** What orders markers, as a key. */
export function positionOf(marker: Pick<StateMarker, 'appliedIndex' | 'hashCompactRevision'>): string {
  return `${marker.appliedIndex}/${marker.hashCompactRevision}`;
}

function listOf<K, T>(map: Map<K, T[]>, key: K): T[] {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made: T[] = [];
  map.set(key, made);
  return made;
}

function forget<T>(list: T[], items: readonly T[]): void {
  const gone = new Set(items);
  const left = list.filter((item) => !gone.has(item));
  list.splice(0, list.length, ...left);
}
