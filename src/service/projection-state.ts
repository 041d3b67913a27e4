import { type KvRow } from '../kv/kv.ts';
import { type ConfigurationEntry, ConfigurationIndex } from './configuration-index.ts';
import { FeatureIndex } from './flags/feature-index.ts';
import { HEAD_KEY, isFeatureKey, PREFIXES } from './keyspace.ts';
import type { Application, ChangeSet, Configuration, Environment } from './model.ts';
import { decodeApplication, decodeChangeSet, decodeEnvironment, decodeFeature } from './rows.ts';

/** A row with the revision that its guard must name; 0 when there is none. */
export interface Stored<T> {
  readonly row: T;
  readonly modRevision: number;
}

/** A configuration's row as it is to be kept: with its value, wherever that stood. */
export interface WholeConfiguration {
  readonly configuration: Configuration;
  readonly bytes: Buffer;
  readonly modRevision: number;
}

/** What the service's rows say at one revision. */
export class ProjectionState {
  readonly configurations = new ConfigurationIndex();
  readonly features = new FeatureIndex();
  readonly #environments = new Map<string, Stored<Environment>>();
  readonly #applications = new Map<string, Stored<Application>>();
  readonly #changeSets = new Map<string, Stored<ChangeSet>>();
  readonly #orders = new Map<string, number>();
  /** Of the newest change; 0 before the first. */
  headRevision = 0;

  /** The row of an environment, if it has one: the standard ones are there without. */
  environment(tenant: string, id: string): Stored<Environment> | undefined {
    return this.#environments.get(`${tenant}/${id}`);
  }

  environments(tenant: string): readonly Stored<Environment>[] {
    return [...this.#environments.values()].filter(({ row }) => row.tenant === tenant);
  }

  application(tenant: string, name: string): Stored<Application> | undefined {
    return this.#applications.get(`${tenant}/${name}`);
  }

  /** In the order of their names. */
  applications(tenant: string): readonly Stored<Application>[] {
    return [...this.#applications.values()]
      .filter(({ row }) => row.tenant === tenant)
      .sort((left, right) => (left.row.name < right.row.name ? -1 : 1));
  }

  changeSet(tenant: string, name: string): Stored<ChangeSet> | undefined {
    return this.#changeSets.get(`${tenant}/${name}`);
  }

  changeSets(tenant: string): readonly Stored<ChangeSet>[] {
    return [...this.#changeSets.values()].filter(({ row }) => row.tenant === tenant);
  }

  /** The mod revision of the row that orders an application's changes; 0 when there is none. */
  orderRevision(tenant: string, application: string): number {
    return this.#orders.get(`${tenant}/${application}`) ?? 0;
  }

  putConfiguration({ configuration, bytes, modRevision }: WholeConfiguration): ConfigurationEntry {
    return this.configurations.set(configuration, { bytes, modRevision });
  }

  /** Takes any other row of the service that is kept here; those of other kinds are passed over. @throws RowError */
  put({ key, value, modRevision }: Pick<KvRow, 'key' | 'value' | 'modRevision'>): void {
    const text = key.toString();
    if (text === HEAD) this.headRevision = modRevision;
    else if (isFeatureKey(text)) {
      this.features.set(decodeFeature(value), { modRevision, bytes: value.length });
    } else if (text.startsWith(PREFIXES.environment)) {
      this.#environments.set(text.slice(PREFIXES.environment.length), {
        row: decodeEnvironment(value),
        modRevision,
      });
    } else if (text.startsWith(PREFIXES.application)) {
      this.#applications.set(text.slice(PREFIXES.application.length), {
        row: decodeApplication(value),
        modRevision,
      });
    } else if (text.startsWith(PREFIXES.changeSet)) {
      this.#changeSets.set(text.slice(PREFIXES.changeSet.length), {
        row: decodeChangeSet(value),
        modRevision,
      });
    } else if (text.startsWith(PREFIXES.applicationOrder)) {
      this.#orders.set(text.slice(PREFIXES.applicationOrder.length), modRevision);
    }
  }

  /** Configurations and features are never deleted, only marked so. */
  delete(key: Buffer): void {
    const text = key.toString();
    if (text.startsWith(PREFIXES.environment)) {
      this.#environments.delete(text.slice(PREFIXES.environment.length));
    } else if (text.startsWith(PREFIXES.application)) {
      this.#applications.delete(text.slice(PREFIXES.application.length));
    } else if (text.startsWith(PREFIXES.changeSet)) {
      this.#changeSets.delete(text.slice(PREFIXES.changeSet.length));
    } else if (text.startsWith(PREFIXES.applicationOrder)) {
      this.#orders.delete(text.slice(PREFIXES.applicationOrder.length));
    }
  }
}

const HEAD = HEAD_KEY.toString();
