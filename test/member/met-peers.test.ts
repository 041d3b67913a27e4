import { expect, test } from 'vitest';
import { MetPeers } from '../../src/member/met-peers.ts';
import type { PeerIdentity } from '../../src/member/ports.ts';
import { type Identity, nextIncarnation } from '../../src/member/storage/data-dir.ts';
import { MemoryDisk } from '../../src/member/storage/memory-disk.ts';
import { seededRandom } from './storage/seeded-random.ts';

const DATA: Identity = { clusterId: 7, memberId: 42, name: 'n1', incarnation: 1 };

function hello({ clusterId, memberId, incarnation }: Identity, logSeq: number): PeerIdentity {
  return { clusterId, memberId, incarnation, logSeq, peerUrls: [] };
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
  expect(met.refusal(hello(await start(original), 20))).toBeNull();
  // One start behind, the copy comes to the same count of starts as the original, at the same place in the log.
  expect(met.refusal(hello(await start(copy), 20))).toContain('back in time');
  expect(met.refusal(hello(await start(DATA), 20))).toContain('back in time');
  expect(met.refusal(hello(await start(original), 19))).toContain('back in time');
});

test('a peer on an earlier copy stays refused, however often it starts and over restarts of who refuses it', async () => {
  const random = seededRandom(3);
  const start = (data: Identity): Promise<Identity> => nextIncarnation(new MemoryDisk(), data, random);
  const disk = new MemoryDisk();
  const open = (): Promise<MetPeers> =>
    MetPeers.open(disk, (error) => {
      throw error;
    });
  const met = await open();
  const copy = await start(DATA);
  const original = await start(copy);
  // The copy was made while nothing ran: the log had come as far as the original's at its start.
  met.note(hello(original, 20));
  let later = await start(copy);
  expect(met.refusal(hello(later, 20))).toContain('back in time');
  for (const each of [met, await met.close().then(open)]) {
    later = await start(later);
    expect(each.refusal(hello(later, 20))).toContain('back in time');
    // What it has met goes on, until its next start: nobody could tell that from one of the copy's.
    expect(each.refusal(hello(original, 20))).toBeNull();
    each.note(hello(original, 20));
    expect(each.refusal(hello(await start(original), 500))).toContain('back in time');
  }
});
