import type { Json, SealedValue, ValueType } from '../config-format/values.ts';
import type { FlagDefinition, Segment } from '../evaluation/model.ts';

export type { Json, SealedValue, ValueType } from '../config-format/values.ts';

/** The things that the service keeps, as its rows hold them. Times are ISO 8601 in UTC, to the millisecond. */

/** 001's attribute of a configuration. */
export type ConfigType =
  | 'APPLICATION_CONFIG'
  | 'FEATURE_FLAG'
  | 'SECRET'
  | 'ENVIRONMENT_VARIABLE'
  | 'BUSINESS_RULE';

/**
 * Where a configuration lives. The environment is its canonical id: `development`, `test`, `staging`, `production` or
 * the name of a custom one, in lower case. None of the three contains a slash.
 */
export interface Scope {
  readonly tenant: string;
  readonly environment: string;
  readonly application: string;
}

/** A configuration by name. */
export interface ConfigurationName extends Scope {
  /** Words joined by dots, 1 to 255 characters. */
  readonly key: string;
}

/** A value as it is stored: of a secret its envelope, else JSON. */
export type StoredValue =
  | { readonly type: Exclude<ValueType, 'secret'>; readonly json: Json }
  | { readonly type: 'secret'; readonly sealed: SealedValue };

/**
 * A configuration as it stands. Its id follows from its name, so that there is one of each name and one that is created
 * again goes on with its versions.
 */
export interface Configuration extends ConfigurationName {
  readonly format: 1;
  readonly id: string;
  readonly configType: ConfigType;
  readonly description: string;
  readonly value: StoredValue;
  /** JSON Schema 2020-12 as text, or null. */
  readonly schema: string | null;
  /** Sorted, each once. */
  readonly tags: readonly string[];
  /** When it ends by itself, or null. */
  readonly expiresAt: string | null;
  /** From 1; every change of anything of it makes one more. */
  readonly version: number;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly updatedBy: string;
  readonly updatedAt: string;
  /** The change that made this version. */
  readonly changeId: string;
  /** It was deleted: the API has no such configuration, its versions stay, and it can be undeleted. */
  readonly isDeleted: boolean;
}

/** What a configuration was at one version: all that a rollback brings back. Never changed once written. */
export interface ConfigurationVersion {
  readonly format: 1;
  readonly configurationId: string;
  readonly version: number;
  readonly configType: ConfigType;
  readonly description: string;
  readonly value: StoredValue;
  readonly schema: string | null;
  readonly tags: readonly string[];
  readonly expiresAt: string | null;
  readonly isDeleted: boolean;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly changeId: string;
  /** Why, in the words of whoever changed it; empty when they gave none. */
  readonly reason: string;
}

/** A flag, or a segment that flags name: both are kept alike, and both are features. */
export type FeatureKind = 'flag' | 'segment';

/** A feature by name: flags and segments have names of their own. */
export interface FeatureName extends Scope {
  readonly kind: FeatureKind;
  /** 1 to 255 characters. */
  readonly key: string;
}

/** What a feature decides; its key is that of the feature. */
export type FeatureDefinition =
  | { readonly kind: 'flag'; readonly definition: FlagDefinition }
  | { readonly kind: 'segment'; readonly definition: Segment };

/** A feature as it stands, as a configuration does: its id follows from its name, and it is never gone, only deleted. */
export type Feature = FeatureDefinition &
  Scope & {
    readonly format: 1;
    readonly id: string;
    readonly key: string;
    readonly description: string;
    /** Sorted, each once. */
    readonly tags: readonly string[];
    /** From 1; every change of anything of it makes one more. */
    readonly version: number;
    readonly createdBy: string;
    readonly createdAt: string;
    readonly updatedBy: string;
    readonly updatedAt: string;
    /** The change that made this version. */
    readonly changeId: string;
    readonly isDeleted: boolean;
  };

/** What a feature was at one version: all that a rollback brings back. Never changed once written. */
export type FeatureVersion = FeatureDefinition & {
  readonly format: 1;
  readonly featureId: string;
  readonly version: number;
  readonly description: string;
  readonly tags: readonly string[];
  readonly isDeleted: boolean;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly changeId: string;
  /** Why, in the words of whoever changed it; empty when they gave none. */
  readonly reason: string;
};

/** An environment; what it does not say itself it inherits from `parent`. */
export interface Environment {
  readonly format: 1;
  readonly tenant: string;
  readonly id: string;
  readonly description: string;
  /** The environment whose configurations show through where this one has none; null = none. */
  readonly parent: string | null;
  readonly rules: DeploymentRules;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly updatedBy: string;
  readonly updatedAt: string;
  readonly version: number;
}
export interface DeploymentRules {
  /** Nothing may be changed. */
  readonly locked: boolean;
  /** Changes come by promotion from this environment only; null = from anywhere. */
  readonly promoteOnlyFrom: string | null;
  readonly reasonRequired: boolean;
}

/** An application; made by the first configuration of its name unless it is made before. */
export interface Application {
  readonly format: 1;
  readonly tenant: string;
  readonly name: string;
  readonly description: string;
  /** Default values where no environment has one, by key; from code, a schema, or people. */
  readonly defaults: { readonly [key: string]: Json };
  /** Rules over several keys, each an expression that must be true of every environment's effective values. */
  readonly rules: readonly CrossKeyRule[];
  readonly createdBy: string;
  readonly createdAt: string;
  readonly updatedBy: string;
  readonly updatedAt: string;
  readonly version: number;
}
export interface CrossKeyRule {
  readonly name: string;
  /** In CEL over `config`, a map from key to value. */
  readonly expression: string;
  /** What a person is told when it is false. */
  readonly message: string;
}

/** A named release: the changes that were made under its name, and what they did to each configuration, flag and segment. */
export interface ChangeSet {
  readonly format: 1;
  readonly tenant: string;
  readonly name: string;
  /** Of the changes, in the order in which they were made. */
  readonly changes: readonly string[];
  /** Each of them once, by its id: its version before the first of the changes, and after the last. */
  readonly items: readonly { readonly id: string; readonly before: number; readonly after: number }[];
  /** When it was rolled back, or null; from then on it is closed. */
  readonly rolledBackAt: string | null;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly updatedAt: string;
}

/** Who asks, as far as the service knows. */
export interface Actor {
  /** The authenticated user, or what the caller named itself, or `anonymous`. */
  readonly name: string;
  readonly isAuthenticated: boolean;
  /** What a body claims besides (001's `updated_by`), or null. */
  readonly claimed: string | null;
  /** Where from: address, and user agent when there is one. */
  readonly address: string;
  readonly agent: string | null;
}

export type Operation =
  | 'create'
  | 'update'
  | 'delete'
  | 'undelete'
  | 'rollback'
  | 'bulk'
  | 'promote'
  | 'import'
  | 'merge'
  | 'adopt'
  | 'revert'
  | 'expire'
  | 'environment'
  | 'application'
  /** Nothing changed: a secret was shown. */
  | 'reveal';

/**
 * One request's change: audit entry, event and the answer to its repetition in one. It is written in the transaction
 * that makes the change, refers to versions instead of copying values, and is never changed.
 */
export interface ChangeRecord {
  readonly format: 1;
  /** Made of principal, operation and idempotency key, so that a repetition finds it. */
  readonly id: string;
  readonly at: string;
  readonly actor: Actor;
  readonly operation: Operation;
  readonly reason: string;
  /** The named release that the change belongs to, or null. */
  readonly changeSet: string | null;
  /** SHA-256 of the request, in hex: another request under the same idempotency key is refused. */
  readonly requestHash: string;
  readonly items: readonly ChangeItem[];
}

/** What happened to one thing. A version of 0 means that there was none. */
export type ChangeItem =
  | (ConfigurationName & {
      readonly kind: 'configuration';
      readonly type: 'created' | 'updated' | 'deleted' | 'revealed';
      readonly id: string;
      readonly before: number;
      readonly after: number;
    })
  | (FeatureName & {
      readonly type: 'created' | 'updated' | 'deleted';
      readonly id: string;
      readonly before: number;
      readonly after: number;
    })
  | {
      readonly kind: 'environment' | 'application';
      readonly type: 'created' | 'updated' | 'deleted';
      readonly tenant: string;
      readonly name: string;
      readonly before: number;
      readonly after: number;
      /** These have no versions of their own: what changed, field by field. */
      readonly fields: readonly { readonly name: string; readonly before: Json; readonly after: Json }[];
    };
