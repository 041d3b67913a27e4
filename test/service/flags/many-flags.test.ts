import { expect, test } from 'vitest';
import type { Json, Scope } from '../../../src/service/model.ts';
import { ada, inWorld } from '../world.ts';

const FLAGS = 1_000;
const ENVIRONMENTS = [
  'development',
  'test',
  'staging',
  'production',
  'qa',
  'load',
  'demo',
  'eu',
  'us',
  'asia',
];
const scopeOf = (environment: string): Scope => ({ tenant: 'default', environment, application: 'shop' });

/** As flagd has them: half are on; staff gets what the others do not. */
function documentOf(flags: number): Json {
  const one = (at: number) => ({
    state: 'ENABLED',
    variants: { on: true, off: false },
    defaultVariant: at % 2 === 0 ? 'on' : 'off',
    targeting: { if: [{ ends_with: [{ var: 'email' }, '@shop.example'] }, at % 2 === 0 ? 'off' : 'on'] },
  });
  return { flags: Object.fromEntries(Array.from({ length: flags }, (_, at) => [`flag-${at}`, one(at)])) };
}

test(`${FLAGS} flags in ${ENVIRONMENTS.length} environments are loaded, found, evaluated and changed one by one`, async () => {
  await inWorld(async ({ service }) => {
    for (const id of ENVIRONMENTS.slice(4)) await service.environments.create(ada, { tenant: 'default', id });
    const document = documentOf(FLAGS);
    for (const environment of ENVIRONMENTS) {
      const { items, findings } = await service.flagImport.import(ada, {
        scope: scopeOf(environment),
        document,
      });
      expect([items.length, findings]).toEqual([FLAGS, []]);
    }
    const list = { kind: 'flag', tenant: 'default', application: 'shop', size: 1 } as const;
    expect((await service.featureReads.list(ada, list)).result.total).toBe(FLAGS * ENVIRONMENTS.length);
    const onIn = async (environment: string, email: string): Promise<number> => {
      const { set } = await service.flagReads.compiled(ada, { scope: scopeOf(environment) });
      const answers = Array.from(set.keys(), (key) => set.evaluate(key, { email }, { nowMs: 0 }).value);
      expect(answers).toHaveLength(FLAGS);
      return answers.filter((value) => value === true).length;
    };
    for (const environment of ENVIRONMENTS) {
      expect(await onIn(environment, 'ada@else.example')).toBe(FLAGS / 2);
      expect(await onIn(environment, 'ada@shop.example')).toBe(FLAGS / 2);
    }
    const ref = { kind: 'flag', ...scopeOf('eu'), key: 'flag-998' } as const;
    await service.features.enable(ada, { ref, enabled: false });
    expect(await onIn('eu', 'ada@else.example')).toBe(FLAGS / 2 - 1);
    expect(await onIn('us', 'ada@else.example')).toBe(FLAGS / 2);
  });
});
