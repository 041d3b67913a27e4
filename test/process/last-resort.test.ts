import { afterEach, beforeEach, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { Prng } from '../core/raft/prng.ts';
import { FaultArena } from './fault-arena.ts';

/** A few values of the test's size. */
const QUOTA_BYTES = 256 * 1024;

let arena: FaultArena;
const clients: KvClient[] = [];

beforeEach(async () => {
  arena = await FaultArena.start({ size: 3, random: new Prng(1) });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await arena.destroy();
});

test('one member of a lost cluster goes on alone with --force-new-cluster, and later without it', async () => {
  const together = clientOf(arena.members.map((member) => member.clientUrl));
  for (let i = 0; i < 20; i++) await together.put({ key: `key/${i}`, value: `${i}` });
  const { revision } = (await together.range({ key: 'key/0' })).header;
  const survivor = arena.members[1]!;
  // What it has not heard of is lost with the others.
  await expect.poll(() => ownRevision(survivor.clientUrl)).toBe(revision);
  await Promise.all(arena.members.map((member) => arena.kill(member)));

  for (const forced of [true, true, false]) {
    await arena.launch(survivor, { flags: forced ? ['--force-new-cluster'] : [] }).ready();
    const alone = clientOf([survivor.clientUrl]);
    expect((await alone.memberList()).members.map((member) => member.name)).toEqual([survivor.name]);
    expect((await alone.range({ key: 'key/', rangeEnd: 'key0' })).count).toBe(20);
    await alone.put({ key: 'after', value: `${forced}` });
    expect(await survivor.process?.stop()).toBe(0);
  }
});

test('a store that has reached its quota refuses to grow, and serves again once it was told that there is room', async () => {
  await Promise.all(arena.members.map((member) => arena.kill(member)));
  for (const member of arena.members)
    arena.launch(member, { flags: [`--quota-backend-bytes=${QUOTA_BYTES}`] });
  await Promise.all(arena.members.map((member) => member.started));
  const client = clientOf(arena.members.map((member) => member.clientUrl));
  const value = Buffer.alloc(8 * 1024, 'v');
  let written = 0;
  const full = async (): Promise<unknown> => {
    for (; written < (2 * QUOTA_BYTES) / value.length; written++) await client.put({ key: 'grows', value });
    return null;
  };
  await expect(full()).rejects.toMatchObject({ code: 'resource-exhausted', uncertain: false });
  expect(written).toBeGreaterThan(2);

  for (const member of arena.members) {
    const one = clientOf([member.clientUrl]);
    // The alarm is the whole cluster's: no member takes a write, all answer reads and take deletions.
    await expect
      .poll(() => one.put({ key: 'grows', value }).then(String, String))
      .toContain('database space exceeded');
    expect((await one.range({ key: 'grows' })).kvs[0]!.version).toBe(written);
  }
  const { revision } = (await client.delete({ key: 'grows' })).header;
  await client.compact({ revision, physical: true });
  await arena.disarm();
  await client.put({ key: 'grows', value });
});

async function ownRevision(url: string): Promise<number> {
  return (await clientOf([url]).range({ key: 'key/0', serializable: true })).header.revision;
}

function clientOf(endpoints: readonly string[]): KvClient {
  const client = new KvClient({ endpoints });
  clients.push(client);
  return client;
}
