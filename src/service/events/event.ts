import { spellEnvironment } from '../environments/spelling.ts';
import { idOf } from '../keyspace.ts';
import type { ChangeRecord, ConfigurationName, Json, Operation, StoredValue } from '../model.ts';
import { prefixedKey } from '../service-prefix.ts';
import { subtypeOf } from '../values/value-types.ts';
import { type ShownValue, shown } from '../views.ts';
import { type Cursor, cursorText } from './cursor.ts';
import type { Effect } from './effects.ts';
import type { Held } from './view.ts';

/** `configuration_updated` as 001 has it, with the revision to go on from. */
export interface ConfigurationUpdated {
  readonly event_id: string;
  readonly timestamp: string;
  readonly revision: number;
  /** To go on behind this event. */
  readonly cursor: string;
  readonly type: EventType;
  readonly configuration_updated: {
    /** With the prefix of its service. */
    readonly config_key: string;
    readonly service_name: string;
    /** In 001's spelling. */
    readonly environment: string;
    /** Null when there was none; of a secret the mask. */
    readonly old_value: Json;
    /** Null when there is none any more. */
    readonly new_value: Json;
    readonly updated_by: string;
    readonly reason: string;
    /** Of the configuration that has the value now; of the one that had it when there is none; 0 for a default. */
    readonly version: number;
    readonly rollback_available: boolean;
    readonly affected_instances: readonly string[];
  };
}

/** What became of what holds: an older value that shows through again is an update. */
export type EventType = 'created' | 'updated' | 'deleted';

/** Instances that an event names. */
export const AFFECTED_INSTANCES_MAX = 1_000;

/** The value of a version, and when that was made. */
export interface HeldValue {
  readonly value: StoredValue;
  readonly updatedAt: string;
}

/** Finds the value of a version that stands, or stood, to be read when it is asked for. */
export type ValueOf = (held: Extract<Held, { type: 'configuration' }>) => () => HeldValue;

/** That something else holds for a key in an environment: told once to each who asked for it. Never changed. */
export class ConfigurationEvent {
  readonly revision: number;
  readonly changeId: string;
  readonly operation: Operation;
  /** What holds otherwise. */
  readonly name: ConfigurationName;
  readonly timestamp: string;
  readonly updatedBy: string;
  readonly reason: string;
  readonly version: number;
  readonly rollbackAvailable: boolean;
  /** The instances that ran the application there when this became known: the first 1,000. */
  readonly affectedInstances: readonly string[];
  readonly type: EventType;
  /** To go on behind it. */
  readonly cursor: Cursor;
  /** Among the events of its revision, from 0. */
  readonly position: number;
  readonly #before: () => Shown | null;
  readonly #after: () => Shown | null;

  /** @param values when they are asked for */
  constructor(
    { name, before, after }: Effect,
    {
      record,
      revision,
      place,
      valueOf,
      affectedInstances,
    }: {
      readonly record: ChangeRecord;
      readonly revision: number;
      /** Among the events of the revision. */
      readonly place: { readonly position: number; readonly count: number };
      readonly valueOf: ValueOf;
      readonly affectedInstances: readonly string[];
    },
  ) {
    this.name = name;
    this.revision = revision;
    this.changeId = record.id;
    this.operation = record.operation;
    this.timestamp = record.at;
    this.updatedBy = record.actor.name;
    this.reason = record.reason;
    this.version = versionOf(after ?? before);
    this.type = before === null ? 'created' : after === null ? 'deleted' : 'updated';
    this.position = place.position;
    this.cursor =
      place.position === place.count - 1
        ? { after: revision, taken: 0 }
        : { after: revision - 1, taken: place.position + 1 };
    this.rollbackAvailable = after?.type === 'configuration' && after.version > 1;
    this.affectedInstances =
      affectedInstances.length > AFFECTED_INSTANCES_MAX
        ? affectedInstances.slice(0, AFFECTED_INSTANCES_MAX)
        : affectedInstances;
    this.#before = shownLater(before, { valueOf, changedAt: record.at });
    this.#after = shownLater(after, { valueOf, changedAt: record.at });
  }

  /** The same whoever tells it. */
  get id(): string {
    const { tenant, environment, application, key } = this.name;
    return idOf(['event', this.changeId, tenant, environment, application, key]);
  }

  /** Null when nothing held; of a secret the mask. */
  get oldValue(): Json {
    return this.#before()?.value.json ?? null;
  }

  get newValue(): Json {
    return this.#after()?.value.json ?? null;
  }

  /** What holds now, with its type; null when nothing does. */
  get value(): ShownValue | null {
    return this.#after()?.value ?? null;
  }

  /** When the configuration got the value that holds now; else when the change was made. */
  get updatedAt(): string {
    return this.#after()?.updatedAt ?? this.timestamp;
  }

  /** As it is told to programs. */
  get payload(): ConfigurationUpdated {
    const { environment, application, key } = this.name;
    return {
      event_id: this.id,
      timestamp: this.timestamp,
      revision: this.revision,
      cursor: cursorText(this.cursor),
      type: this.type,
      configuration_updated: {
        config_key: prefixedKey(application, key),
        service_name: application,
        environment: spellEnvironment(environment, 'long'),
        old_value: this.oldValue,
        new_value: this.newValue,
        updated_by: this.updatedBy,
        reason: this.reason,
        version: this.version,
        rollback_available: this.rollbackAvailable,
        affected_instances: this.affectedInstances,
      },
    };
  }
}

/** Whole revisions: who has read a batch can go on after its revision. */
export interface EventBatch {
  readonly revision: number;
  readonly events: readonly ConfigurationEvent[];
}

function versionOf(held: Held | null): number {
  return held?.type === 'configuration' ? held.version : 0;
}

interface Shown {
  readonly value: ShownValue;
  readonly updatedAt: string;
}

function shownLater(
  held: Held | null,
  { valueOf, changedAt }: { readonly valueOf: ValueOf; readonly changedAt: string },
): () => Shown | null {
  if (held === null) return () => null;
  if (held.type === 'default') {
    const { json } = held;
    return () => ({ value: { type: subtypeOf(json), json, isMasked: false }, updatedAt: changedAt });
  }
  const read = valueOf(held);
  return () => {
    const { value, updatedAt } = read();
    return { value: shown(value), updatedAt };
  };
}
