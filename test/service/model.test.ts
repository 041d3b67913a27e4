import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Json } from '../../src/service/model.ts';
import { ServiceError } from '../../src/service/service-error.ts';
import { mergeJson } from '../../src/service/values/merge.ts';
import { ada, inWorld, named, plainValue, type World } from './world.ts';

/** Random requests against a model that is a few maps: whatever the service does, it must say and do the same. */

const TENANT = 'default';
const ENVIRONMENTS = ['development', 'test', 'staging', 'production'] as const;
const KEYS = ['a', 'b', 'c'] as const;

interface ModelVersion {
  readonly json: number;
  readonly isDeleted: boolean;
}

/** Versions by `environment/key`, oldest first, and the parents of the environments. */
class Model {
  readonly versions = new Map<string, ModelVersion[]>();
  readonly parents = new Map<string, string>();

  of(environment: string, key: string): ModelVersion[] {
    const id = `${environment}/${key}`;
    const known = this.versions.get(id) ?? [];
    this.versions.set(id, known);
    return known;
  }

  own(environment: string, key: string): number | null {
    const last = this.of(environment, key).at(-1);
    return last === undefined || last.isDeleted ? null : last.json;
  }

  effective(environment: string, key: string): number | null {
    const own = this.own(environment, key);
    const parent = this.parents.get(environment);
    return own === null && parent !== undefined ? this.effective(parent, key) : own;
  }

  ancestors(environment: string): readonly string[] {
    const parent = this.parents.get(environment);
    return parent === undefined ? [] : [parent, ...this.ancestors(parent)];
  }
}

type Request =
  | { readonly type: 'create' | 'update' | 'put'; readonly at: Place; readonly json: number }
  | { readonly type: 'delete' | 'undelete'; readonly at: Place }
  | { readonly type: 'rollback'; readonly at: Place; readonly version: number }
  | { readonly type: 'promote'; readonly from: string; readonly to: string; readonly deleteMissing: boolean }
  | { readonly type: 'parent'; readonly of: string; readonly parent: string | null }
  | { readonly type: 'compact' };
interface Place {
  readonly environment: string;
  readonly key: string;
}

const environment = fc.constantFrom(...ENVIRONMENTS);
const place: fc.Arbitrary<Place> = fc.record({ environment, key: fc.constantFrom(...KEYS) });
const json = fc.integer({ min: 0, max: 3 });
const request: fc.Arbitrary<Request> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ type: fc.constantFrom('create', 'update', 'put'), at: place, json }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('delete', 'undelete'), at: place }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('rollback'),
      at: place,
      version: fc.integer({ min: 1, max: 5 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('promote'),
      from: environment,
      to: environment,
      deleteMissing: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('parent'), of: environment, parent: fc.option(environment) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('compact') }) },
) as fc.Arbitrary<Request>;

/** @returns the code of the failure, or `done` */
async function perform({ service, memory }: World, asked: Request): Promise<string> {
  try {
    switch (asked.type) {
      case 'create':
      case 'put':
        await service.configurations[asked.type](ada, {
          name: named('', asked.at),
          value: { json: asked.json },
        });
        break;
      case 'update':
        await service.configurations.update(ada, { ref: named('', asked.at), value: { json: asked.json } });
        break;
      case 'delete':
      case 'undelete':
        await service.configurations[asked.type](ada, { ref: named('', asked.at) });
        break;
      case 'rollback':
        await service.history.rollback(ada, { ref: named('', asked.at), version: asked.version });
        break;
      case 'promote':
        await service.promotion.promote(ada, { ...asked, tenant: TENANT, application: 'pay' });
        break;
      case 'parent':
        await service.environments.update(ada, { tenant: TENANT, id: asked.of, parent: asked.parent });
        break;
      case 'compact':
        await service.projection.catchUp(ada.signal);
        if (service.projection.revision > 1) {
          try {
            memory.compact(service.projection.revision);
          } catch {
            // Nothing has changed since the last time.
          }
        }
        break;
    }
    return 'done';
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return error.code;
  }
}

function predict(model: Model, asked: Request): string {
  switch (asked.type) {
    case 'create':
    case 'update':
    case 'put': {
      const { environment: where, key } = asked.at;
      const own = model.own(where, key);
      if (asked.type === 'create' && own !== null) return 'exists';
      if (asked.type === 'update' && own === null) return 'not-found';
      set(model, asked.at, asked.json);
      return 'done';
    }
    case 'delete':
    case 'undelete':
      return predictGone(model, asked.type, asked.at);
    case 'rollback': {
      const versions = model.of(asked.at.environment, asked.at.key);
      if (model.own(asked.at.environment, asked.at.key) === null) return 'not-found';
      const wanted = versions[asked.version - 1];
      if (wanted === undefined) return 'not-found';
      if (wanted.isDeleted) return 'invalid';
      set(model, asked.at, wanted.json);
      return 'done';
    }
    case 'promote':
      if (asked.from === asked.to) return 'invalid';
      for (const key of KEYS) {
        const value = model.own(asked.from, key);
        const at = { environment: asked.to, key };
        if (value !== null) set(model, at, value);
        else if (asked.deleteMissing) predictGone(model, 'delete', at);
      }
      return 'done';
    case 'parent':
      if (asked.parent === null) {
        model.parents.delete(asked.of);
        return 'done';
      }
      if ([asked.parent, ...model.ancestors(asked.parent)].includes(asked.of)) return 'invalid';
      model.parents.set(asked.of, asked.parent);
      return 'done';
    case 'compact':
      return 'done';
  }
}

function predictGone(model: Model, type: 'delete' | 'undelete', at: Place): string {
  const versions = model.of(at.environment, at.key);
  const last = versions.at(-1);
  if (type === 'delete') {
    if (last === undefined || last.isDeleted) return 'not-found';
    versions.push({ json: last.json, isDeleted: true });
    return 'done';
  }
  if (last === undefined) return 'not-found';
  if (!last.isDeleted) return 'exists';
  versions.push({ json: last.json, isDeleted: false });
  return 'done';
}

/** What is the same already makes no version. */
function set(model: Model, at: Place, value: number): void {
  if (model.own(at.environment, at.key) === value) return;
  model.of(at.environment, at.key).push({ json: value, isDeleted: false });
}

async function check({ service, memory }: World, model: Model): Promise<void> {
  await service.projection.catchUp(ada.signal);
  const isKnown = [...model.versions.values()].some((versions) => versions.length > 0);
  if (!isKnown) return;
  for (const where of ENVIRONMENTS) {
    const scope = { tenant: TENANT, environment: where, application: 'pay' };
    const { result } = await service.reads.effective(ada, { scope });
    const held = KEYS.flatMap((key): (readonly [string, Json])[] => {
      const value = model.effective(where, key);
      return value === null ? [] : [[key, value]];
    });
    expect(result.items.map(({ key, value }) => [key, value.json])).toEqual(held);
    for (const key of KEYS) {
      const versions = model.of(where, key);
      expect(await plainValue(memory, `/${TENANT}/${where}/pay/${key}`)).toBe(model.own(where, key));
      if (versions.length === 0) continue;
      const { result: page } = await service.history.versions(ada, {
        ref: named(key, { environment: where }),
      });
      expect(page.items.map(({ value, isDeleted }) => ({ json: value.json, isDeleted }))).toEqual(
        versions.toReversed(),
      );
      expect(page.items.map(({ version }) => version)).toEqual(versions.map((_, at) => versions.length - at));
    }
  }
}

test('whatever is asked for, values, versions and what is inherited are as in the model', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 40 }), async (requests) => {
      const model = new Model();
      await inWorld(async (world) => {
        for (const asked of requests) {
          const predicted = predict(model, asked);
          expect([asked, await perform(world, asked)]).toEqual([asked, predicted]);
        }
        await check(world, model);
        // As another server reads it from the store.
        await inWorld((again) => check(again, model), { memory: world.memory });
      });
    }),
    { numRuns: 60 },
  );
});

test('two servers at once: what both say was done is there, and each version once', async () => {
  const writes = fc.array(fc.record({ at: place, json, server: fc.boolean() }), {
    minLength: 2,
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(writes, async (asked) => {
      await inWorld(async (first) => {
        await inWorld(
          async (second) => {
            const answers = await Promise.all(
              asked.map(({ at, json: value, server }) =>
                (server ? first : second).service.configurations.put(ada, {
                  name: named('', at),
                  value: { json: value },
                }),
              ),
            );
            const made = answers
              .filter(({ changeId }) => changeId !== null)
              .flatMap(({ items }) => items)
              .map(
                ({ after }) =>
                  `${after.environment}/${after.key}/${after.version}=${JSON.stringify(after.value.json)}`,
              );
            expect(new Set(made).size).toBe(made.length);
            const stored: string[] = [];
            for (const id of new Set(asked.map(({ at }) => `${at.environment}/${at.key}`))) {
              const [where, key] = id.split('/') as [string, string];
              const ref = named(key, { environment: where });
              const { result } = await first.service.history.versions(ada, { ref });
              for (const { version, value } of result.items) {
                stored.push(`${id}/${version}=${JSON.stringify(value.json)}`);
              }
            }
            expect(stored.sort()).toEqual(made.sort());
          },
          { memory: first.memory },
        );
      });
    }),
    { numRuns: 40 },
  );
});

test('a merge of two sides takes what each of them alone changed', async () => {
  const side = fc.dictionary(fc.constantFrom('x', 'y', 'z'), json);
  await fc.assert(
    fc.asyncProperty(side, side, side, async (base, ours, theirs) => {
      await inWorld(async ({ service }) => {
        const name = named('a');
        await service.configurations.create(ada, { name, value: { json: base }, type: 'json' });
        await service.configurations.update(ada, { ref: name, value: { json: ours } });
        const merge = { ref: name, base: 1, theirs: { value: { json: theirs } } };
        const { merged, conflicts, written } = await service.merging.merge(ada, merge);
        expect(merged).toEqual(mergeJson({ base, ours, theirs }, 'manual').json);
        const { result } = await service.reads.get(ada, { ref: name });
        expect(result.value.json).toEqual(conflicts.length === 0 ? merged : ours);
        expect(written === null).toBe(conflicts.length > 0);
        for (const member of ['x', 'y', 'z']) {
          if (base[member] === ours[member]) expect((merged as typeof base)[member]).toBe(theirs[member]);
          else if (base[member] === theirs[member])
            expect((merged as typeof base)[member]).toBe(ours[member]);
        }
      });
    }),
    { numRuns: 60 },
  );
});
