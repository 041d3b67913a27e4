import { afterEach, beforeEach, expect, test } from 'vitest';
import { KvClient } from '../../src/client/kv-client.ts';
import { getOp, putOp } from '../../src/client/txn.ts';
import { SmallMember, SmallStore } from './small-store.ts';

let member: SmallMember;
let client: KvClient;

beforeEach(async () => {
  member = await new SmallMember(new SmallStore()).start();
  client = new KvClient({ endpoints: [member.address] });
});
afterEach(async () => {
  client.close();
  await member.stop();
});

test('a bounded read says its bound, and is told the age and the region of its answer', async () => {
  member.freshness = { ageMs: 37, region: 'eu-1' };
  await client.put({ key: 'a', value: '1' });
  const answer = await client.range({ key: 'a', maxStalenessMs: 500 });
  expect(answer).toMatchObject({ ageMs: 37, region: 'eu-1', kvs: [{ version: 1 }] });
  expect(await client.range({ key: 'a', maxStalenessMs: 0 })).toHaveProperty('ageMs', 37);
  expect(await client.range({ key: 'a' })).not.toHaveProperty('ageMs');
  expect(member.stalenessAsked).toEqual(['500', '0', undefined]);
});

test('a transaction of reads is bounded, too; one that writes is not', async () => {
  member.freshness = { ageMs: 5, region: '' };
  const reads = { compare: [], success: [getOp('a')], failure: [], maxStalenessMs: 100 };
  expect(await client.txn(reads)).toMatchObject({ ageMs: 5, responses: [{ type: 'range' }] });
  const writes = { ...reads, success: [putOp('a', '1')] };
  expect(await client.txn(writes)).not.toHaveProperty('ageMs');
  expect(member.stalenessAsked).toEqual(['100', undefined]);
});

test('where no age is told it is unknown, not zero', async () => {
  expect(await client.range({ key: 'a', maxStalenessMs: 500 })).not.toHaveProperty('ageMs');
});

test('a bounded read that failed has no age, but its failure', async () => {
  await member.stop();
  const failed = client.range({ key: 'a', maxStalenessMs: 500 });
  await expect(failed).rejects.toMatchObject({ code: 'unavailable' });
});

test('a bound that is none is refused before anything is sent', async () => {
  for (const maxStalenessMs of [-1, 0.5, Number.NaN, 2 ** 31 + 1]) {
    const refused = client.range({ key: 'a', maxStalenessMs });
    await expect(refused).rejects.toMatchObject({ code: 'invalid-argument', unsent: true });
  }
  expect(member.calls).toEqual([]);
  await client.range({ key: 'a', maxStalenessMs: 2 ** 31 });
});
