import type { Kv } from '../../kv/kv.ts';
import { type ChangeId, changeIds, readChanges, type StoredChange } from '../audit/change-log.ts';
import type { ConfigurationIndex } from '../configuration-index.ts';
import { readVersions } from '../configurations/versions.ts';
import { configurationId } from '../keyspace.ts';
import { serviceErrorOf } from '../kv-errors.ts';
import type { Scope } from '../model.ts';
import type { Projection } from '../projection.ts';
import { ServiceError } from '../service-error.ts';
import { type Effect, effectsOf } from './effects.ts';
import { ConfigurationEvent, type EventBatch, type HeldValue } from './event.ts';
import { type Held, OverlaidView, PresentView, undoChange } from './view.ts';

/** Changes that a replay goes back: who is further behind reads everything anew. */
export const REPLAY_CHANGES_MAX = 100_000;

/** Changes that are read together. */
const CHUNK = 100;
/** As many stay in memory between the two times that they are gone through. */
const KEPT_MAX = 2_000;

/** What events are made from. */
export interface EventSource {
  readonly kv: Kv;
  readonly projection: Projection;
  readonly instancesOf: (scope: Scope) => readonly string[];
}

/**
 * Tells the events after a revision that are not in memory any more, from the change records and the versions that they
 * name. What held then is found by undoing every change since, newest first; then they are made again, one by one.
 */
export class Replay {
  readonly #source: EventSource;
  readonly #signal: AbortSignal;
  /** What changed behind the target while this runs is undone from the present. */
  readonly #later: OverlaidView;
  readonly #view: OverlaidView;
  readonly #unsubscribe: () => void;
  readonly #target: number;
  #reached: number;
  /** The present went on in one step, so that it cannot be undone any more. */
  #isOver = false;

  /** @param from the events after this revision are told, up to what the projection has now */
  constructor(source: EventSource, from: number, signal: AbortSignal) {
    this.#source = source;
    this.#signal = signal;
    this.#reached = from;
    this.#target = source.projection.revision;
    this.#later = new OverlaidView(new PresentView(() => source.projection.state));
    this.#view = new OverlaidView(this.#later);
    this.#unsubscribe = source.projection.subscribe({
      changed: (change) => undoChange(this.#later, change),
      jumped: () => this.end(),
    });
  }

  /** Everything up to here has been told; another replay goes on from it. */
  get reached(): number {
    return this.#reached;
  }

  /** Ends what is under way as soon as it can. */
  end(): void {
    this.#isOver = true;
    this.#unsubscribe();
  }

  /**
   * The events in order, whole revisions at a time. It may end before it has told all: then another one goes on.
   *
   * @throws ServiceError `gone` when too much happened since, or records or versions are not kept; `unavailable`
   */
  async *batches(): AsyncGenerator<EventBatch> {
    try {
      yield* this.#batches();
    } catch (error) {
      throw serviceErrorOf(error);
    } finally {
      this.end();
    }
  }

  async *#batches(): AsyncGenerator<EventBatch> {
    const { kv } = this.#source;
    const range = { after: this.#reached, upTo: this.#target };
    const ids = await changeIds(kv, range, this.#signal);
    if (ids.length > REPLAY_CHANGES_MAX) {
      throw new ServiceError('gone', `more than ${REPLAY_CHANGES_MAX} changes were made since`);
    }
    const kept = await this.#undo(ids);
    for (let at = 0; at < ids.length; at += CHUNK) {
      const chunk = ids.slice(at, at + CHUNK);
      const changes = kept.slice(at, at + CHUNK);
      const batches = await this.#redo(
        changes.length === chunk.length ? changes : await readChanges(kv, chunk, this.#signal),
      );
      if (this.#isOver) return;
      for (const batch of batches) {
        this.#reached = batch.revision;
        if (batch.events.length === 0) continue;
        yield batch;
        if (this.#isOver) return;
      }
    }
    if (!this.#isOver) this.#reached = this.#target;
  }

  /** @returns the changes, as far as they are kept for the second time */
  async #undo(ids: readonly ChangeId[]): Promise<readonly StoredChange[]> {
    const kept: StoredChange[] = [];
    for (let at = 0; at < ids.length; at += CHUNK) {
      const changes = await readChanges(this.#source.kv, ids.slice(at, at + CHUNK), this.#signal);
      const stood = await this.#whatStood(changes);
      for (const { record } of changes) {
        for (const item of record.items) this.#view.undo(item, stood.get(item));
      }
      if (kept.length < KEPT_MAX) kept.push(...changes);
    }
    return kept;
  }

  /**
   * What was created anew was deleted before, or had expired and not been swept yet: the version tells. One that is not
   * kept any more was deleted long ago.
   */
  async #whatStood(changes: readonly StoredChange[]): Promise<ReadonlyMap<object, number | null>> {
    const again = changes
      .flatMap(({ record }) => record.items)
      .filter((item) => item.kind === 'configuration')
      .filter((item) => item.type === 'created' && item.before > 0);
    const wanted = again.map(({ id, before }) => ({ id, version: before }));
    const versions = await readVersions(this.#source.kv, wanted, this.#signal);
    return new Map(
      again.map((item, at) => {
        const stood = versions[at] !== null && versions[at]?.version.isDeleted === false;
        return [item, stood ? item.before : null] as const;
      }),
    );
  }

  async #redo(changes: readonly StoredChange[]): Promise<readonly EventBatch[]> {
    const effects = changes.map(({ record }) => {
      const after = new OverlaidView(this.#view);
      for (const item of record.items) after.apply(item);
      const found = effectsOf(record, this.#view, after);
      for (const item of record.items) this.#view.apply(item);
      return found;
    });
    // The present may have gone on in one step while the changes were read: then what was found is worth nothing.
    if (this.#isOver) return [];
    const values = await this.#valuesOf(effects.flat());
    return changes.map(({ record, revision }, at) => ({
      revision,
      events: effects[at]!.map((effect, position) => {
        const affectedInstances = this.#source.instancesOf(effect.name);
        return new ConfigurationEvent(effect, {
          record,
          revision,
          place: { position, count: effects[at]!.length },
          affectedInstances,
          valueOf: (held) => {
            const value = values.get(keyOf(held))!;
            return () => value;
          },
        });
      }),
    }));
  }

  /** The values of all versions that the effects name. @throws ServiceError `gone` */
  async #valuesOf(effects: readonly Effect[]): Promise<ReadonlyMap<string, HeldValue>> {
    const held = new Map<string, ConfigurationHeld>();
    for (const { before, after } of effects) {
      for (const side of [before, after]) {
        if (side?.type === 'configuration') held.set(keyOf(side), side);
      }
    }
    const { configurations } = this.#source.projection.state;
    const values = new Map<string, HeldValue>();
    const wanted: ConfigurationHeld[] = [];
    for (const each of held.values()) {
      const value = presentValue(configurations, each);
      if (value === null) wanted.push(each);
      else values.set(keyOf(each), value);
    }
    const ids = wanted.map(({ name, version }) => ({ id: configurationId(name), version }));
    const versions = await readVersions(this.#source.kv, ids, this.#signal);
    for (const [at, each] of wanted.entries()) {
      const found = versions[at] ?? null;
      if (found === null) {
        throw new ServiceError('gone', `version ${each.version} of ${each.name.key} is not kept any more`);
      }
      const { value, createdAt } = found.version;
      values.set(keyOf(each), { value, updatedAt: createdAt });
    }
    return values;
  }
}

type ConfigurationHeld = Extract<Held, { type: 'configuration' }>;

function keyOf({ name, version }: ConfigurationHeld): string {
  return `${configurationId(name)}/${version}`;
}

function presentValue(
  configurations: ConfigurationIndex,
  { name, version }: ConfigurationHeld,
): HeldValue | null {
  const entry = configurations.find(name);
  if (entry?.version !== version) return null;
  const { value, updatedAt } = entry.read();
  return { value, updatedAt };
}
