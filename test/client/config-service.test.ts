import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConfigClient, type ConfigClientOptions } from '../../src/client/config-client.ts';
import type { Json } from '../../src/config-format/values.ts';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import type { Scope } from '../../src/service/model.ts';
import { openService, type Service } from '../../src/service/service.ts';
import { ROOT_LOGIN } from '../contract/kv-auth.ts';
import { MemberWorld } from '../kv/member-world.ts';
import { ada, KEYRING } from '../service/world.ts';

/** The configuration client and the service, on one real member. */
let world: MemberWorld;
let service: Service;

beforeAll(async () => {
  world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  service = await openService({
    kv: await world.connect(),
    logger: silentLogger,
    keyring: KEYRING,
    sweeps: false,
    signal: ada.signal,
  });
});
afterAll(async () => {
  await service.close();
  await world.stop();
});

async function opened(
  application: string,
  options: Partial<ConfigClientOptions> = {},
): Promise<ConfigClient> {
  const endpoints = [world.address];
  return ConfigClient.open({ endpoints, application, environment: 'PROD', variables: {}, ...options });
}

/** What the service says that holds, as the client tells it. */
async function effective(scope: Scope): Promise<Record<string, string>> {
  const { result } = await service.reads.effective(ada, { scope });
  return Object.fromEntries(
    result.items.map(({ key, environment, value }) => [
      key,
      `${environment} ${value.isMasked ? 'secret' : JSON.stringify(value.json)}`,
    ]),
  );
}
function known(config: ConfigClient): Record<string, string> {
  return Object.fromEntries(
    config
      .entries()
      .map(({ key, environment, type, json }) => [
        key,
        `${environment} ${type === 'secret' ? 'secret' : JSON.stringify(json)}`,
      ]),
  );
}

type Step =
  | {
      readonly type: 'put';
      readonly environment: string;
      readonly key: string;
      readonly json: Json;
      readonly isSecret: boolean;
    }
  | { readonly type: 'delete'; readonly environment: string; readonly key: string }
  | { readonly type: 'parent'; readonly environment: string; readonly parent: string | null }
  | { readonly type: 'defaults'; readonly defaults: Record<string, Json> };

const ENVIRONMENTS = ['production', 'staging', 'test'] as const;
const environment = fc.constantFrom(...ENVIRONMENTS);
const key = fc.constantFrom('a', 'b.c', 'd');
const json = fc.constantFrom<Json>(1, 2, 'x', null, { deep: [1] }, true);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('put' as const),
      environment,
      key,
      json,
      isSecret: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('delete' as const), environment, key }) },
  {
    weight: 2,
    arbitrary: fc.record({
      type: fc.constant('parent' as const),
      environment,
      parent: fc.constantFrom(null, ...ENVIRONMENTS),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('defaults' as const), defaults: fc.dictionary(key, json) }),
  },
);

async function perform(application: string, one: Step): Promise<void> {
  const tenant = 'default';
  switch (one.type) {
    case 'put': {
      const name = { tenant, environment: one.environment, application, key: one.key };
      const type = one.isSecret ? ('secret' as const) : one.json === null ? ('json' as const) : undefined;
      await service.configurations.put(ada, { name, value: { json: one.json }, type });
      return;
    }
    case 'delete': {
      const ref = { tenant, environment: one.environment, application, key: one.key };
      await service.configurations.delete(ada, { ref });
      return;
    }
    case 'parent':
      await service.environments.update(ada, { tenant, id: one.environment, parent: one.parent });
      return;
    case 'defaults':
      await service.applications.update(ada, { tenant, name: application, defaults: one.defaults });
      return;
  }
}

test('after any changes the client has what the service says, and told how it came to be', async () => {
  let runs = 0;
  let made = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const application = `app-${runs++}`;
      const scope = { tenant: 'default', environment: 'production', application };
      await service.applications.create(ada, { tenant: 'default', name: application });
      const config = await opened(application);
      const told = new Map<string, Json>(config.entries().map((entry) => [entry.key, entry.json]));
      config.onChange(({ changes }) => {
        for (const { key: changed, before, after } of changes) {
          // Each change goes on from where the one before it ended.
          expect(told.get(changed)).toEqual(before?.json);
          if (after === undefined) told.delete(changed);
          else told.set(changed, after.json);
        }
      });
      try {
        for (const one of steps) {
          // A cycle, what is not there, or a secret over a reference: refused by the service, and no change.
          const isMade = await perform(application, one).then(
            () => true,
            () => false,
          );
          if (isMade) made += 1;
        }
        const wanted = await effective(scope);
        await expect.poll(() => known(config), { timeout: 20_000 }).toEqual(wanted);
        expect(Object.fromEntries(told)).toEqual(
          Object.fromEntries(config.entries().map((entry) => [entry.key, entry.json])),
        );
      } finally {
        await config.close();
      }
    }),
    { numRuns: 15 },
  );
  expect(made).toBeGreaterThan(20);
});

test('where the cluster wants to know who asks, reading these three places is enough', async () => {
  const name = { tenant: 'default', environment: 'production', application: 'guarded', key: 'a' };
  await service.configurations.create(ada, { name, value: { json: 1 } });
  await service.environments.update(ada, { tenant: 'default', id: 'production', parent: null });
  const { admin } = world;
  await admin.auth.userAdd({ name: ROOT_LOGIN.user, password: ROOT_LOGIN.password }, { token: null });
  await admin.auth.userGrantRole({ user: ROOT_LOGIN.user, role: 'root' }, { token: null });
  await admin.auth.roleAdd('guarded', { token: null });
  const grant = async (prefix: string): Promise<void> => {
    const key = Buffer.from(prefix);
    const rangeEnd = Buffer.from(prefix);
    rangeEnd[rangeEnd.length - 1]! += 1;
    await admin.auth.roleGrantPermission('guarded', { type: 'read', key, rangeEnd }, { token: null });
  };
  await grant('/default/production/guarded/');
  await grant('/_conclave/environment/default/');
  await admin.auth.userAdd({ name: 'svc', password: 'secret' }, { token: null });
  await admin.auth.userGrantRole({ user: 'svc', role: 'guarded' }, { token: null });
  await admin.auth.enable({ token: null });
  const login = { user: 'svc', password: 'secret' };
  await expect(opened('guarded', { login, whenAway: 'start-empty' })).rejects.toMatchObject({
    code: 'permission-denied',
  });
  await expect(opened('guarded', { whenAway: 'start-empty' })).rejects.toThrow();
  await admin.auth.roleGrantPermission('guarded', {
    type: 'read',
    key: '/_conclave/application/default/guarded',
  });
  const config = await opened('guarded', { login });
  expect(config.all()).toEqual({ a: 1 });
  await config.close();
  await admin.auth.disable();
});
