import { spellEnvironment } from '../environments/spelling.ts';
import { idOf } from '../keyspace.ts';
import type { ChangeRecord, ConfigurationName, Json, Operation, StoredValue } from '../model.ts';
import { MASK } from '../secrets/keyring.ts';
import { prefixedKey } from '../service-prefix.ts';
import type { Effect } from './effects.ts';
import type { Held } from './view.ts';

/** `configuration_updated` as 001 has it, with the revision to go on from. */
export interface ConfigurationUpdated {
  readonly event_id: string;
  readonly timestamp: string;
  readonly revision: number;
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

/** Instances that an event names. */
export const AFFECTED_INSTANCES_MAX = 1_000;

/** Finds the value of a version that stands, or stood, to be read when it is asked for. */
export type ValueOf = (held: Extract<Held, { type: 'configuration' }>) => () => StoredValue;

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
  readonly #before: () => Json;
  readonly #after: () => Json;
  #payload: ConfigurationUpdated | null = null;

  /** @param values when they are asked for */
  constructor(
    { name, before, after }: Effect,
    {
      record,
      revision,
      valueOf,
      affectedInstances,
    }: {
      readonly record: ChangeRecord;
      readonly revision: number;
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
    this.rollbackAvailable = after?.type === 'configuration' && after.version > 1;
    this.affectedInstances =
      affectedInstances.length > AFFECTED_INSTANCES_MAX
        ? affectedInstances.slice(0, AFFECTED_INSTANCES_MAX)
        : affectedInstances;
    this.#before = shownLater(before, valueOf);
    this.#after = shownLater(after, valueOf);
  }

  /** The same whoever tells it. */
  get id(): string {
    const { tenant, environment, application, key } = this.name;
    return idOf(['event', this.changeId, tenant, environment, application, key]);
  }

  /** Null when nothing held; of a secret the mask. */
  get oldValue(): Json {
    return this.payload.configuration_updated.old_value;
  }

  get newValue(): Json {
    return this.payload.configuration_updated.new_value;
  }

  /** Made once, for all who get it. */
  get payload(): ConfigurationUpdated {
    this.#payload ??= this.#made();
    return this.#payload;
  }

  #made(): ConfigurationUpdated {
    const { environment, application, key } = this.name;
    return {
      event_id: this.id,
      timestamp: this.timestamp,
      revision: this.revision,
      configuration_updated: {
        config_key: prefixedKey(application, key),
        service_name: application,
        environment: spellEnvironment(environment, 'long'),
        old_value: this.#before(),
        new_value: this.#after(),
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

function shownLater(held: Held | null, valueOf: ValueOf): () => Json {
  if (held === null) return () => null;
  if (held.type === 'default') return () => held.json;
  const read = valueOf(held);
  return () => {
    const value = read();
    return value.type === 'secret' ? MASK : value.json;
  };
}
