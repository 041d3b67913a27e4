import { expect, test } from 'vitest';
import type { MemberId } from '../../src/core/raft/messages.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { Acquaintances, type AcquaintancesOptions } from '../../src/member/acquaintances.ts';
import { encodeAccount } from '../../src/member/bootstrap.ts';
import type { MemberInfo } from '../../src/member/membership.ts';
import { Newcomers } from '../../src/member/newcomers.ts';
import { ManualClock } from './manual-clock.ts';
import { eventually } from './test-cluster.ts';

const CLUSTER = 9;

function member(id: MemberId): MemberInfo {
  return { id, name: `n${id}`, peerUrls: [`http://n${id}:2380`], clientUrls: [], isLearner: false };
}

/** A member that has just joined: who introduced it knew of 1 and 2 only. */
class Joined {
  readonly clock = new ManualClock();
  readonly asked: string[] = [];
  state: readonly MemberInfo[] = [];
  removed: readonly MemberId[] = [];
  peers: readonly MemberId[] = [];
  readonly newcomers: Newcomers;
  readonly acquaintances: Acquaintances;

  constructor() {
    const { clock } = this;
    this.newcomers = new Newcomers({
      clock,
      logger: silentLogger,
      signal: new AbortController().signal,
      clusterId: CLUSTER,
      transport: {
        probe: async (url: string) => {
          this.asked.push(url);
          return encodeAccount({ clusterId: CLUSTER, members: [1, 2, 3].map(member), met: [], removed: [] });
        },
      } as never,
      members: () => this.acquaintances.known(),
      learned: () => this.acquaintances.changed(),
    });
    const table = {
      get: (id: MemberId) => this.state.find((each) => each.id === id),
      wasRemoved: (id: MemberId) => this.removed.includes(id),
    };
    this.acquaintances = new Acquaintances({
      identity: { memberId: 4, clusterId: CLUSTER } as AcquaintancesOptions['identity'],
      met: { refusal: () => null, note: () => {} } as never,
      newcomers: this.newcomers,
      introductions: [member(1), member(2)],
      transport: {
        setPeers: (peers) => {
          this.peers = peers.map(({ id }) => id);
        },
      },
      machine: () => ({ members: table, memberList: () => this.state }) as never,
      logger: silentLogger,
    });
    this.acquaintances.changed();
  }
}

test('a member that has joined asks those it was introduced to about one that they did not name', async () => {
  const joined = new Joined();
  expect(joined.peers).toEqual([1, 2]);
  expect(joined.acquaintances.admit({ memberId: 3 } as never)).toBeNull();
  joined.clock.advance(1);
  joined.newcomers.tick();
  await eventually(() => joined.peers.length === 3);
  expect(joined.peers).toEqual([1, 2, 3]);
  expect(joined.asked).toEqual(['http://n1:2380']);
});

test('a state that does not reach to a member yet does not part it from him', () => {
  const joined = new Joined();
  joined.state = [member(1), member(4)];
  joined.acquaintances.changed();
  expect(joined.peers).toEqual([1, 4, 2]);
});

test('who was removed is known no longer', () => {
  const joined = new Joined();
  joined.state = [member(1), member(4)];
  joined.removed = [2];
  joined.acquaintances.changed();
  expect(joined.peers).toEqual([1, 4]);
});
