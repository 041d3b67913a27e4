import { describe, expect, test } from 'vitest';
import type { FeatureKind, FeatureName, Json } from '../../../src/service/model.ts';
import { failure } from '../failure.ts';
import { ada, callerOf, inWorld, type World } from '../world.ts';

const SCOPE = { tenant: 'default', environment: 'production', application: 'shop' } as const;

function named(
  key: string,
  environment: string = SCOPE.environment,
  kind: FeatureKind = 'flag',
): FeatureName {
  return { ...SCOPE, kind, environment, key };
}

const ON_OFF: Json = {
  type: 'boolean',
  variants: { on: true, off: false },
  offVariant: 'off',
  fallthrough: { variant: 'on' },
};

function flagWith(more: { readonly [name: string]: Json }): Json {
  return { ...(ON_OFF as object), ...more };
}

async function create({ service }: World, name: FeatureName, definition: Json = ON_OFF) {
  const { items } = await service.features.create(ada, { name, definition });
  return items[0]!.after;
}

async function answerOf({ service }: World, key: string, environment: string = SCOPE.environment) {
  const scope = { ...SCOPE, environment };
  const { result } = await service.flagReads.evaluate(ada, { scope, key, context: { targetingKey: 'u' } });
  return result.errorCode ?? result.variant ?? null;
}

describe('flags', () => {
  test('one is created whole, read, listed and evaluated', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const made = await service.features.create(ada, {
        name: named('checkout'),
        definition: ON_OFF,
        description: 'The new way',
        tags: ['b', 'a', 'b'],
        reason: 'why not',
      });
      const { after } = made.items[0]!;
      expect(after).toMatchObject({
        version: 1,
        createdBy: 'ada',
        tags: ['a', 'b'],
        description: 'The new way',
      });
      expect(after.definition).toMatchObject({ key: 'checkout', enabled: true, rules: [], schedule: [] });
      const byId = await service.featureReads.get(ada, {
        ref: { kind: 'flag', tenant: 'default', id: after.id },
      });
      expect(byId.result).toEqual(after);
      expect(byId.revision).toBeGreaterThanOrEqual(made.revision);
      expect(await answerOf(world, 'checkout')).toBe('on');
      expect(await answerOf(world, 'nothing')).toBe('FLAG_NOT_FOUND');
    });
  });

  test('what is wrong is named by its field, and nothing is kept of it', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const refused = (name: FeatureName, definition: Json | undefined, tags: readonly string[] = []) =>
        service.features.create(ada, { name, definition, tags });
      await expect(refused(named('a b'), ON_OFF)).rejects.toThrow(failure('invalid', 'key'));
      await expect(refused(named(''), ON_OFF)).rejects.toThrow(failure('invalid', 'key'));
      await expect(refused(named('x'.repeat(256)), ON_OFF)).rejects.toThrow(failure('invalid', 'key'));
      await expect(refused(named('x'), undefined)).rejects.toThrow(failure('invalid', 'definition'));
      await expect(refused(named('x'), ON_OFF, [''])).rejects.toThrow(failure('invalid', 'tags/0'));
      await expect(refused(named('x'), flagWith({ key: 'y' }))).rejects.toThrow(
        failure('invalid', 'definition/key'),
      );
      await expect(refused(named('x'), flagWith({ offVariant: 'gone', colour: 1 }))).rejects.toThrow(
        failure('invalid', 'definition/offVariant', 'definition/colour'),
      );
      const heavy = { split: { weights: [{ variant: 'on', weight: 9_999 }] } };
      await expect(refused(named('x'), flagWith({ fallthrough: heavy }))).rejects.toThrow(
        failure('invalid', 'definition/fallthrough/split/weights'),
      );
      await expect(refused(named('x', 'nowhere'), ON_OFF)).rejects.toThrow(failure('invalid', 'environment'));
      const large = { ...(ON_OFF as object), metadata: {}, variants: { on: true, off: false } };
      const keys = Array.from({ length: 20_000 }, (_, at) => `user-number-${at}`);
      await expect(
        refused(named('x'), { ...large, targets: [{ variant: 'on', keys }] } as Json),
      ).rejects.toThrow(failure('invalid', 'definition'));
      await create(world, named('x'));
      await expect(refused(named('x'), ON_OFF)).rejects.toThrow(failure('exists', 'key'));
      const { result } = await service.featureReads.list(ada, { kind: 'flag', tenant: 'default' });
      expect(result.total).toBe(1);
    });
  });

  test('an update is held to If-Match, changes parts by a merge patch, and does nothing when nothing differs', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const made = await create(world, named('x'));
      const ref = named('x');
      await expect(
        service.features.update(ada, { ref, definitionPatch: { enabled: false }, ifMatch: ['1'] }),
      ).rejects.toThrow(failure('precondition-failed'));
      const patched = await service.features.update(ada, {
        ref,
        definitionPatch: { metadata: { team: 'web' } },
        ifMatch: [made.etag],
      });
      expect(patched.items[0]).toMatchObject({ type: 'updated', after: { version: 2 } });
      expect(patched.items[0]!.after.definition).toMatchObject({ enabled: true, metadata: { team: 'web' } });
      const same = await service.features.update(ada, { ref, definitionPatch: { enabled: true } });
      expect(same).toMatchObject({ changeId: null, items: [{ type: 'unchanged', after: { version: 2 } }] });
      await expect(
        service.features.update(ada, { ref, definition: ON_OFF, definitionPatch: {} }),
      ).rejects.toThrow(failure('invalid', 'definitionPatch'));
      await expect(service.features.update(ada, { ref: named('no') })).rejects.toThrow(
        failure('not-found', 'key'),
      );
    });
  });

  test('the kill switch and the rollout are one step each, and who was in stays in', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const ref = named('x');
      await create(world, ref, flagWith({ fallthrough: { variant: 'off' } }));
      const inAt = async (share: number): Promise<ReadonlySet<string>> => {
        await service.features.rollout(ada, { ref, share });
        const { set } = await service.flagReads.compiled(ada, { scope: SCOPE });
        const users = Array.from({ length: 500 }, (_, at) => `u${at}`);
        const isIn = (user: string) =>
          set.evaluate('x', { targetingKey: user }, { nowMs: 0 }).variant === 'on';
        return new Set(users.filter(isIn));
      };
      const few = await inAt(1_000);
      const more = await inAt(3_000);
      expect(few.size).toBeGreaterThan(0);
      expect(more.size).toBeGreaterThan(few.size);
      expect([...few].every((user) => more.has(user))).toBe(true);
      const { result } = await service.featureReads.get(ada, { ref });
      expect(result.definition).toMatchObject({ rules: [{ when: [], rollout: { share: 3_000 } }] });
      await service.features.enable(ada, { ref, enabled: false });
      expect(await answerOf(world, 'x')).toBe('off');
      await service.features.enable(ada, { ref, enabled: true });
      await expect(service.features.rollout(ada, { ref, share: 10_001 })).rejects.toThrow(
        failure('invalid', 'share'),
      );
      await expect(service.features.rollout(ada, { ref, share: 1, variant: 'gone' })).rejects.toThrow(
        failure('invalid', 'definition/rules/0/serve/variant'),
      );
    });
  });

  test('history, comparison and rollback know every version; a deleted flag comes back as it was', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const ref = named('x');
      await create(world, ref);
      await service.features.enable(ada, { ref, enabled: false, reason: 'it burns' });
      await service.features.delete(ada, { ref });
      await expect(service.featureReads.get(ada, { ref })).rejects.toThrow(failure('not-found', 'key'));
      expect(await answerOf(world, 'x')).toBe('FLAG_NOT_FOUND');
      const versions = await service.featureHistory.versions(ada, { ref, size: 2 });
      expect(
        versions.result.items.map(({ version, isDeleted, reason }) => [version, isDeleted, reason]),
      ).toEqual([
        [3, true, ''],
        [2, false, 'it burns'],
      ]);
      expect(versions.result.next).toBe(2);
      await expect(service.features.rollback(ada, { ref, version: 1 })).rejects.toThrow(failure('not-found'));
      await service.features.undelete(ada, { ref });
      await expect(service.features.undelete(ada, { ref })).rejects.toThrow(failure('exists'));
      expect(await answerOf(world, 'x')).toBe('off');
      const rolledBack = await service.features.rollback(ada, { ref, version: 1 });
      expect(rolledBack.items[0]!.after).toMatchObject({ version: 5, definition: { enabled: true } });
      await expect(service.features.rollback(ada, { ref, version: 3 })).rejects.toThrow(
        failure('invalid', 'version'),
      );
      const compared = await service.featureHistory.compare(ada, { ref, left: 2 });
      expect(compared.result).toMatchObject({
        isEqual: false,
        left: { version: 2 },
        right: { version: 5 },
        diff: { patch: [{ op: 'replace', path: '/definition/enabled', value: true }] },
      });
      const one = await service.featureHistory.version(ada, { ref, version: 2 });
      expect(one.result.definition).toMatchObject({ enabled: false });
    });
  });

  test('every change is in the audit trail, with what was decided before and after', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const ref = named('x');
      await create(world, ref);
      await service.features.enable(ada, { ref, enabled: false, reason: 'it burns' });
      const { items } = await service.audit.query(ada, { tenant: 'default', key: 'x' });
      expect(items[0]).toMatchObject({
        operation: 'update',
        reason: 'it burns',
        items: [
          {
            kind: 'flag',
            key: 'x',
            environment: 'production',
            application: 'shop',
            versionBefore: 1,
            versionAfter: 2,
            oldValue: { json: { enabled: true } },
            newValue: { json: { enabled: false } },
          },
        ],
      });
      expect(items[1]!.items.map(({ kind }) => kind)).toEqual(['flag', 'application']);
    });
  });

  test('a repetition under the same idempotency key gets the first answer', async () => {
    await inWorld(async ({ service }) => {
      const request = { name: named('x'), definition: ON_OFF, idempotencyKey: 'once' };
      const first = await service.features.create(ada, request);
      const again = await service.features.create(ada, request);
      expect(again).toEqual({ ...first, isRepeated: true });
      await expect(
        service.features.create(ada, { ...request, definition: flagWith({}), tags: ['t'] }),
      ).rejects.toThrow(failure('idempotency-mismatch'));
    });
  });

  test('lists are filtered, searched and paged, in the order of their names', async () => {
    await inWorld(async ({ service }) => {
      const put = (key: string, more: object, enabled = true) =>
        service.features.create(ada, { name: named(key), definition: flagWith({ enabled }), ...more });
      await put('c', { tags: ['web'] });
      await put('a', { description: 'Faster Checkout' }, false);
      await put('b', {});
      const keys = async (filter: object) => {
        const { result } = await service.featureReads.list(ada, {
          kind: 'flag',
          tenant: 'default',
          ...filter,
        });
        return result.items.map(({ key }) => key);
      };
      expect(await keys({})).toEqual(['a', 'b', 'c']);
      expect(await keys({ page: 1, size: 2 })).toEqual(['c']);
      expect(await keys({ tag: 'web' })).toEqual(['c']);
      expect(await keys({ search: 'checkout fast' })).toEqual(['a']);
      expect(await keys({ enabled: false })).toEqual(['a']);
      expect(await keys({ keyPrefix: 'b', application: 'shop', environment: 'production' })).toEqual(['b']);
      expect(await keys({ environment: 'test' })).toEqual([]);
      await expect(keys({ size: 1_001 })).rejects.toThrow(failure('invalid', 'size'));
    });
  });

  test('the rules of the environment hold for flags', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await create(world, named('x'));
      await service.environments.update(ada, {
        tenant: 'default',
        id: 'production',
        rules: { locked: true },
      });
      await expect(service.features.enable(ada, { ref: named('x'), enabled: false })).rejects.toThrow(
        failure('conflict'),
      );
      await create(world, named('x', 'test'));
    });
  });

  test('an application or environment with flags stays', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await service.environments.create(ada, { tenant: 'default', id: 'qa' });
      await create(world, named('x', 'qa'));
      await expect(service.applications.delete(ada, { tenant: 'default', name: 'shop' })).rejects.toThrow(
        failure('conflict'),
      );
      await expect(service.environments.delete(ada, { tenant: 'default', id: 'qa' })).rejects.toThrow(
        failure('conflict'),
      );
      await service.features.delete(ada, { ref: named('x', 'qa') });
      await service.environments.delete(ada, { tenant: 'default', id: 'qa' });
      await service.applications.delete(ada, { tenant: 'default', name: 'shop' });
    });
  });

  test('what was there before a restart is there after it', async () => {
    await inWorld(async (world) => {
      await create(world, named('x'));
      await create(world, named('gone'));
      await world.service.features.delete(ada, { ref: named('gone') });
      await inWorld(
        async (other) => {
          expect(await answerOf(other, 'x')).toBe('on');
          expect(await answerOf(other, 'gone')).toBe('FLAG_NOT_FOUND');
        },
        { memory: world.memory },
      );
    });
  });
});

describe('inheritance', () => {
  async function inherits({ service }: World): Promise<void> {
    await service.environments.update(ada, { tenant: 'default', id: 'staging', parent: 'production' });
  }

  test('the nearest flag holds, and what is deleted there is inherited again', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await inherits(world);
      await create(world, named('x'));
      expect(await answerOf(world, 'x', 'staging')).toBe('on');
      await create(world, named('x', 'staging'), flagWith({ enabled: false }));
      expect(await answerOf(world, 'x', 'staging')).toBe('off');
      expect(await answerOf(world, 'x')).toBe('on');
      const scope = { ...SCOPE, environment: 'staging' };
      const { result } = await service.featureReads.effective(ada, { kind: 'flag', scope });
      expect(result.items).toMatchObject([{ key: 'x', source: 'own', environment: 'staging' }]);
      await service.features.delete(ada, { ref: named('x', 'staging') });
      expect(await answerOf(world, 'x', 'staging')).toBe('on');
      await service.environments.update(ada, { tenant: 'default', id: 'staging', parent: null });
      expect(await answerOf(world, 'x', 'staging')).toBe('FLAG_NOT_FOUND');
    });
  });
});

describe('references', () => {
  const requires = (flag: string, variant = 'on'): Json =>
    flagWith({ prerequisites: [{ flag, variants: [variant] }] });
  const inSegment = (segment: string): Json =>
    flagWith({
      fallthrough: { variant: 'off' },
      rules: [{ when: [{ segment }], serve: { variant: 'on' } }],
    });

  test('a prerequisite must be there and have the variant, and no circle is let in', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await expect(create(world, named('b'), requires('a'))).rejects.toThrow(
        failure('invalid', 'definition/prerequisites/0/flag'),
      );
      await create(world, named('a'));
      await expect(create(world, named('b'), requires('a', 'gone'))).rejects.toThrow(
        failure('invalid', 'definition/prerequisites/0/variants/0'),
      );
      await create(world, named('b'), requires('a'));
      await create(world, named('c'), requires('b'));
      await expect(
        service.features.update(ada, { ref: named('a'), definition: requires('c') }),
      ).rejects.toThrow(failure('invalid', 'definition/prerequisites/0/flag'));
    });
  });

  test('of two changes that would make a circle together one is refused', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await create(world, named('a'));
      await create(world, named('b'));
      const outcomes = await Promise.allSettled([
        service.features.update(ada, { ref: named('a'), definition: requires('b') }),
        service.features.update(ada, { ref: named('b'), definition: requires('a') }),
      ]);
      expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    });
  });

  test('what others refer to cannot go, in any environment that inherits it', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await service.environments.update(ada, { tenant: 'default', id: 'staging', parent: 'production' });
      await create(world, named('a'));
      await create(world, named('b', 'staging'), requires('a'));
      await expect(service.features.delete(ada, { ref: named('a') })).rejects.toThrow(
        failure('conflict', 'key'),
      );
      const other = { type: 'string', variants: { red: 'r' }, fallthrough: { variant: 'red' } };
      await expect(service.features.update(ada, { ref: named('a'), definition: other })).rejects.toThrow(
        failure('conflict', 'key'),
      );
      await service.features.delete(ada, { ref: named('b', 'staging') });
      await service.features.delete(ada, { ref: named('a') });
    });
  });

  test('an environment keeps the parent that its flags rely on', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const inherit = (parent: string | null) =>
        service.environments.update(ada, { tenant: 'default', id: 'staging', parent });
      await inherit('production');
      await create(world, named('a'));
      await create(world, named('b', 'staging'), requires('a'));
      await expect(inherit(null)).rejects.toThrow(failure('conflict', 'parent'));
      await expect(inherit('test')).rejects.toThrow(failure('conflict', 'parent'));
      await create(world, named('a', 'test'));
      await inherit('test');
    });
  });

  test('a segment serves many flags, and its change reaches them', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const segment = named('beta', 'production', 'segment');
      await expect(create(world, named('x'), inSegment('beta'))).rejects.toThrow(
        failure('invalid', 'definition/rules/0/when/0/segment'),
      );
      await create(world, segment, { included: ['somebody'] });
      await create(world, named('x'), inSegment('beta'));
      expect(await answerOf(world, 'x')).toBe('off');
      await service.features.update(ada, { ref: segment, definition: { included: ['u'] } });
      expect(await answerOf(world, 'x')).toBe('on');
      await expect(service.features.delete(ada, { ref: segment })).rejects.toThrow(
        failure('conflict', 'key'),
      );
      await expect(service.features.enable(ada, { ref: segment, enabled: true })).rejects.toThrow(
        failure('invalid', 'key'),
      );
    });
  });

  test('several are made in one change, whatever their order', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const items = [
        { action: 'create', name: named('b'), definition: requires('a') },
        { action: 'create', name: named('a'), definition: inSegment('s') },
        { action: 'create', name: named('s', 'production', 'segment'), definition: {} },
      ] as const;
      const dry = await service.features.bulk(ada, { tenant: 'default', items, dryRun: true });
      expect(dry).toMatchObject({ changeId: null, items: [{ type: 'created' }, {}, {}] });
      expect(await answerOf({ ...world }, 'a').catch(() => 'no application')).toBe('no application');
      await service.features.bulk(ada, { tenant: 'default', items });
      expect(await answerOf(world, 'b')).toBe('off');
      await expect(
        service.features.bulk(ada, {
          tenant: 'default',
          items: [{ action: 'update', name: named('a'), definition: inSegment('t') }],
        }),
      ).rejects.toThrow(failure('invalid', 'items/0/definition/rules/0/when/0/segment'));
    });
  });
});

describe('changes of flags', () => {
  test('are told in order, with all flags that depend on them, and go on from a revision', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      const stop = new AbortController();
      const caller = { ...callerOf('watcher'), signal: stop.signal };
      await create(world, named('s', 'production', 'segment'), { included: ['u'] });
      await create(world, named('a'), {
        ...(ON_OFF as object),
        rules: [{ when: [{ segment: 's' }], serve: { variant: 'on' } }],
      } as Json);
      const { changes, revision } = await service.flagReads.subscribe(caller, { scope: SCOPE, after: null });
      await create(world, named('b'), flagWith({ prerequisites: [{ flag: 'a', variants: ['on'] }] }));
      await create(world, named('elsewhere', 'test'));
      await service.features.update(ada, {
        ref: named('s', 'production', 'segment'),
        definition: { included: [] },
      });
      const first = await changes.next();
      expect(first.value).toMatchObject({ keys: ['b'], cause: 'change' });
      const second = await changes.next();
      expect(second.value).toMatchObject({ keys: ['a', 'b'], cause: 'change' });
      const again = await service.flagReads.subscribe(caller, { scope: SCOPE, after: revision });
      expect((await again.changes.next()).value).toEqual(first.value);
      stop.abort();
      expect((await changes.next()).done).toBe(true);
      await again.changes.return();
    });
  });

  test('what changes by itself is told when its time has come', async () => {
    await inWorld(async (world) => {
      const { service, clock } = world;
      const stop = new AbortController();
      const caller = { ...callerOf('watcher'), signal: stop.signal };
      const at = new Date(clock.ms + 20).toISOString();
      await create(world, named('later'), flagWith({ schedule: [{ at, set: { enabled: false } }] }));
      await create(world, named('plain'));
      clock.advance(-10_000);
      const { changes } = await service.flagReads.subscribe(caller, { scope: SCOPE, after: null });
      // The clock of the test stands until it is moved: the timer is set by what is left now.
      clock.advance(10_000);
      const next = changes.next();
      clock.advance(60);
      const told = await next;
      expect(told.value).toMatchObject({ keys: ['later'], cause: 'time' });
      expect(await answerOf(world, 'later')).toBe('off');
      stop.abort();
    });
  });

  test('the digest changes with the flags, and with nothing else', async () => {
    await inWorld(async (world) => {
      const { service } = world;
      await create(world, named('a'));
      const digest = async () => (await service.flagReads.compiled(ada, { scope: SCOPE })).digest;
      const first = await digest();
      await service.configurations.create(ada, {
        name: { ...SCOPE, key: 'db.pool' },
        value: { json: 1 },
      });
      await create(world, named('a', 'test'));
      expect(await digest()).toBe(first);
      await service.features.enable(ada, { ref: named('a'), enabled: false });
      expect(await digest()).not.toBe(first);
    });
  });
});
