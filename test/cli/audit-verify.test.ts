import { afterEach, beforeEach, expect, test } from 'vitest';
import { LocalKv } from '../../src/kv/local-kv.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { changeKey } from '../../src/service/keyspace.ts';
import { openService, type Service } from '../../src/service/service.ts';
import { MemberWorld } from '../kv/member-world.ts';
import { ada, KEYRING, named } from '../service/world.ts';
import { type Run, run } from './captured-io.ts';

/** `conclave audit verify` on a real member. */
let world: MemberWorld;
let service: Service;
let changes: string[];

beforeEach(async () => {
  world = await MemberWorld.start(async ({ member }) => new LocalKv(member));
  service = await openService({
    kv: await world.connect(),
    logger: silentLogger,
    keyring: KEYRING,
    sweeps: false,
    signal: ada.signal,
  });
  changes = [];
  for (let json = 0; json < 3; json += 1) {
    const { changeId } = await service.configurations.put(ada, { name: named('a'), value: { json } });
    changes.push(changeId!);
  }
  await service.projection.catchUp(ada.signal);
  await service.sealer.seal(ada.signal);
});
afterEach(async () => {
  await service.close();
  await world.stop();
});

async function verify(...words: string[]): Promise<Run> {
  return run(['audit', 'verify', '--endpoints', world.address, ...words]);
}

test('an untouched trail is said to be one, with an anchor that later ones lead through', async () => {
  const first = await verify();
  expect(first).toMatchObject({ code: 0, err: '' });
  expect(first.out).toMatch(/^3 changes sealed, 0 not yet: all as they were sealed\nanchor: 3:[\w-]{43}\n$/);
  const anchor = first.out.trimEnd().split('anchor: ')[1]!;
  await service.configurations.put(ada, { name: named('a'), value: { json: 'more' } });
  expect((await verify('--anchor', anchor)).out).toContain('3 changes sealed, 1 not yet');
  const report = JSON.parse((await verify('--json')).out);
  expect(report).toMatchObject({ sealed: 3, unsealed: 1, findings: [], findingCount: 0 });
  const other = await verify('--anchor', `3:${'x'.repeat(43)}`);
  expect(other.code).toBe(1);
  expect(other.out).toContain('not all as they were sealed');
  expect(await verify('--anchor', 'three')).toMatchObject({ code: 2 });
});

test('a change that was rewritten, or taken out, is found', async () => {
  const { admin } = world;
  await admin.put({ key: changeKey(changes[0]!), value: '{"format":1}' });
  await admin.delete({ key: changeKey(changes[2]!) });
  const { code, out, err } = await verify();
  expect({ code, err }).toEqual({ code: 1, err: 'error: 2 changes are not as they were sealed\n' });
  const lines = out.split('\n');
  expect(lines[0]).toMatch(/^FOUND +REVISION +CHANGE +WHAT$/);
  expect(new Set(lines.slice(1, 3).map((line) => line.split(/ +/)[0]))).toEqual(
    new Set(['changed', 'removed']),
  );
  for (const id of [changes[0]!, changes[2]!]) expect(out).toContain(id);
});

test('a store that cannot be reached is not said to be whole', async () => {
  const { code, err } = await run(['audit', 'verify', '--endpoints', '127.0.0.1:1']);
  expect(code).toBe(1);
  expect(err).toContain('--endpoints says where it is');
});
