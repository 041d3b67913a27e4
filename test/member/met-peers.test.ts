import { expect, test } from 'vitest';
import { MetPeers } from '../../src/member/met-peers.ts';
import { EARLIER_STARTS_MAX, type PeerIdentity } from '../../src/member/ports.ts';
import { type Identity, nextIncarnation } from '../../src/member/storage/data-dir.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { seededRandom } from './storage/seeded-random.ts';

const DATA: Identity = { clusterId: 7, memberId: 42, name: 'n1', incarnation: 1, earlier: [] };

function hello({ clusterId, memberId, incarnation, earlier }: Identity, logSeq: number): PeerIdentity {
  return { clusterId, memberId, incarnation, earlier, logSeq, peerUrls: [] };
}

async function fresh(): Promise<MetPeers> {
  return MetPeers.open(new MemoryDisk(), (error) => {
    throw error;
  });
}

test('a peer may come back with what it had, and with more', async () => {
  const random = seededRandom(1);
  const met = await fresh();
  const first = await nextIncarnation(new MemoryDisk(), DATA, random);
  const second = await nextIncarnation(new MemoryDisk(), first, random);
  for (const identity of [hello(DATA, 0), hello(first, 10), hello(first, 10), hello(second, 30)]) {
    expect(met.refusal(identity)).toBeNull();
    met.note(identity);
  }
});

test('a peer on an earlier copy of its data is refused, from however many starts ago', async () => {
  const random = seededRandom(2);
  const start = (data: Identity): Promise<Identity> => nextIncarnation(new MemoryDisk(), data, random);
  const met = await fresh();
  const copy = await start(DATA);
  const original = await start(copy);
  met.note(hello(original, 20));
  // One start behind, the copy comes to the same count of starts as the original, at the same place in the log.
  expect(met.refusal(hello(await start(copy), 20))).toContain('back in time');
  expect(met.refusal(hello(await start(DATA), 20))).toContain('back in time');
  expect(met.refusal(hello(await start(original), 19))).toContain('back in time');
  expect(met.refusal(hello(await start(original), 20))).toBeNull();
});

test('a peer on an earlier copy stays refused, however often it starts, and the original does not', async () => {
  const random = seededRandom(3);
  const start = (data: Identity): Promise<Identity> => nextIncarnation(new MemoryDisk(), data, random);
  const met = await fresh();
  const copy = await start(DATA);
  const original = await start(copy);
  met.note(hello(original, 20));
  let later = copy;
  for (let i = 0; i < 5; i++) {
    later = await start(later);
    expect(met.refusal(hello(later, 20 + i))).toContain('back in time');
  }
  const next = await start(original);
  expect(met.refusal(hello(next, 20))).toBeNull();
});

test('who has met only the copy refuses the original: nobody lets both in', async () => {
  const random = seededRandom(4);
  const start = (data: Identity): Promise<Identity> => nextIncarnation(new MemoryDisk(), data, random);
  const met = await fresh();
  const common = await start(DATA);
  met.note(hello(common, 20));
  const copy = await start(common);
  expect(met.refusal(hello(copy, 20))).toBeNull();
  met.note(hello(copy, 20));
  const original = await start(await start(common));
  expect(met.refusal(hello(original, 500))).toContain('back in time');
});

test('a peer that was not met for more starts than it can name is told by their count', async () => {
  const random = seededRandom(5);
  const met = await fresh();
  const early = await nextIncarnation(new MemoryDisk(), DATA, random);
  met.note(hello(early, 20));
  let late = early;
  for (let i = 0; i < EARLIER_STARTS_MAX; i++) late = await nextIncarnation(new MemoryDisk(), late, random);
  expect(late.earlier).toHaveLength(EARLIER_STARTS_MAX);
  expect(met.refusal(hello(late, 20))).toBeNull();
  late = await nextIncarnation(new MemoryDisk(), late, random);
  expect(late.earlier).not.toContain(early.incarnation);
  expect(met.refusal(hello(late, 20))).toBeNull();
  expect(met.refusal(hello(late, 19))).toContain('back in time');
});
