import type { Caller } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import { allEffectiveOf } from '../environments/inheritance.ts';
import { configurationId } from '../keyspace.ts';
import type { Configuration, ConfigurationName, Json } from '../model.ts';
import { invalid } from '../service-error.ts';
import { diffJson, type JsonDiff } from '../values/diff.ts';
import { sameJson } from '../values/json-limits.ts';
import { subtypeOf } from '../values/value-types.ts';
import { type ShownValue, shown } from '../views.ts';
import { contentOf } from './content.ts';
import { isLive, notFound, storedOf } from './edits.ts';
import type { Answer, ReadOptions } from './reads.ts';
import { type ConfigurationRef, checkKnownScope, fieldOf, nameOf } from './refs.ts';
import { readVersion } from './versions.ts';

/** A version of a configuration; without a number the present one. */
export interface ComparedRef {
  readonly ref: ConfigurationRef;
  readonly version?: number | undefined;
}

/** What differs between two versions, be they of one configuration or of two. */
export interface Comparison {
  readonly left: ComparedSide;
  readonly right: ComparedSide;
  readonly isEqual: boolean;
  /** What makes the right value of the left one; null when one of them is a secret. */
  readonly value: JsonDiff | null;
  readonly isValueEqual: boolean;
  /** Everything besides the value that differs. */
  readonly fields: readonly { readonly name: string; readonly before: Json; readonly after: Json }[];
}

export interface ComparedSide extends ConfigurationName {
  readonly id: string;
  readonly version: number;
  readonly value: ShownValue;
}

/** One key that two environments have different values for; null = it has none. */
export interface EnvironmentDifference {
  readonly key: string;
  readonly type: 'added' | 'removed' | 'changed';
  readonly left: ShownValue | null;
  readonly right: ShownValue | null;
  /** Null with a secret. */
  readonly diff: JsonDiff | null;
}

/** Keys that one comparison of environments shows. */
export const DIFFERENCES_MAX = 1_000;

type Compared = ConfigurationName &
  Pick<
    Configuration,
    'id' | 'version' | 'configType' | 'description' | 'schema' | 'tags' | 'expiresAt' | 'value'
  >;

/** The use cases that set two things beside each other. */
export class Comparisons {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** Two versions. Secrets are compared, never shown. @throws ServiceError `not-found` */
  async versions(
    caller: Caller,
    request: ReadOptions & { readonly left: ComparedRef; readonly right: ComparedRef },
  ): Promise<Answer<Comparison>> {
    await this.#context.projection.freshen(request.consistency ?? { type: 'strong' }, caller.signal);
    const left = await this.#side(caller, request.left, 'left');
    const right = await this.#side(caller, request.right, 'right');
    const [before, after] = [this.#plainOf(left), this.#plainOf(right)];
    const isSecret = left.value.type === 'secret' || right.value.type === 'secret';
    const isValueEqual = isSecret ? this.#sameSecret(left, right) : sameJson(before, after);
    const fields = differences(left, right);
    return {
      revision: this.#context.projection.revision,
      result: {
        left: shownSide(left),
        right: shownSide(right),
        isEqual: isValueEqual && fields.length === 0,
        value: isSecret ? null : diffJson(before, after),
        isValueEqual,
        fields,
      },
    };
  }

  /**
   * Everything of an application that holds in the one environment and not, or otherwise, in the other.
   *
   * @throws ServiceError `not-found` for an unknown environment or application
   */
  async environments(
    caller: Caller,
    request: ReadOptions & {
      readonly tenant: string;
      readonly application: string;
      readonly left: string;
      readonly right: string;
    },
  ): Promise<Answer<{ readonly items: readonly EnvironmentDifference[]; readonly more: boolean }>> {
    const { tenant, application } = request;
    const { projection, access, clock } = this.#context;
    await projection.freshen(request.consistency ?? { type: 'strong' }, caller.signal);
    const scopes = [request.left, request.right].map((environment) => ({ tenant, environment, application }));
    for (const scope of scopes) {
      checkKnownScope(this.#context, scope);
      await access.check(caller, 'read', scope);
    }
    const [left, right] = scopes.map((scope) => this.#valuesOf(scope, clock.nowMs()));
    const keys = [...new Set([...left!.keys(), ...right!.keys()])].sort();
    const items = keys.flatMap((key) => differenceOf(key, left!.get(key), right!.get(key)));
    return {
      revision: projection.revision,
      result: { items: items.slice(0, DIFFERENCES_MAX), more: items.length > DIFFERENCES_MAX },
    };
  }

  async #side(caller: Caller, { ref, version }: ComparedRef, field: string): Promise<Compared> {
    const name = await nameOf(this.#context, caller, ref, field);
    await this.#context.access.check(caller, 'read', name);
    const id = configurationId(name);
    if (version === undefined) {
      const stored = storedOf(this.#context.projection.state, name);
      if (stored === null || !isLive(stored, this.#context.clock.nowMs()))
        throw notFound(name, fieldOf(ref, field));
      return stored.row;
    }
    if (!Number.isSafeInteger(version) || version < 1) {
      throw invalid({ field: 'version', message: 'must be a whole number from 1' });
    }
    const found = await readVersion(this.#context.kv, { id, version }, caller.signal);
    return { ...found.version, ...name, id };
  }

  #plainOf(side: Compared): Json | undefined {
    return contentOf(this.#context, side, side.id).plain;
  }

  #sameSecret(left: Compared, right: Compared): boolean {
    const [before, after] = [this.#plainOf(left), this.#plainOf(right)];
    if (before !== undefined && after !== undefined) return sameJson(before, after);
    return JSON.stringify(left.value) === JSON.stringify(right.value);
  }

  #valuesOf(
    scope: { readonly tenant: string; readonly environment: string; readonly application: string },
    nowMs: number,
  ): ReadonlyMap<string, HeldValue> {
    const effective = allEffectiveOf(this.#context.projection.state, scope, nowMs);
    return new Map(
      [...effective].map(([key, found]) => {
        if (found.source === 'default') {
          const { json } = found;
          return [key, { shown: { type: subtypeOf(json), json, isMasked: false }, plain: json }];
        }
        const row = found.entry.read();
        return [key, { shown: shown(row.value), plain: this.#plainOf(row) }];
      }),
    );
  }
}

interface HeldValue {
  readonly shown: ShownValue;
  /** Undefined = a secret that cannot be opened. */
  readonly plain: Json | undefined;
}

function differenceOf(
  key: string,
  left: HeldValue | undefined,
  right: HeldValue | undefined,
): readonly EnvironmentDifference[] {
  const isMasked = left?.shown.isMasked === true || right?.shown.isMasked === true;
  const isSame = left !== undefined && right !== undefined && sameJson(left.plain, right.plain);
  if (isSame && left.shown.type === right.shown.type) return [];
  const type = left === undefined ? 'added' : right === undefined ? 'removed' : 'changed';
  const diff = isMasked ? null : diffJson(left?.plain, right?.plain);
  return [{ key, type, left: left?.shown ?? null, right: right?.shown ?? null, diff }];
}

function shownSide(side: Compared): ComparedSide {
  const { tenant, environment, application, key, id, version, value } = side;
  return { tenant, environment, application, key, id, version, value: shown(value) };
}

function differences(left: Compared, right: Compared): Comparison['fields'] {
  const of = ({ configType, description, schema, tags, expiresAt, value }: Compared) =>
    Object.entries({ type: value.type, configType, description, schema, tags, expiresAt });
  const before = new Map<string, Json>(of(left));
  return of(right)
    .filter(([name, value]) => !sameJson(before.get(name), value))
    .map(([name, value]) => ({ name, before: before.get(name) ?? null, after: value }));
}
