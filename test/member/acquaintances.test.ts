import { expect, test } from 'vitest';
import { encodeCommand } from '../../src/core/command.ts';
import type { MemberId } from '../../src/core/raft/messages.ts';
import { silentLogger } from '../../src/lib/logger.ts';
import { Acquaintances, type AcquaintancesOptions } from '../../src/member/acquaintances.ts';
import type { MemberInfo } from '../../src/member/membership.ts';
import type { PeerIdentity } from '../../src/member/ports.ts';
import { Whereabouts } from '../../src/member/whereabouts.ts';

const CLUSTER = 9;

function member(id: MemberId): MemberInfo {
  return { id, name: `n${id}`, peerUrls: [`http://n${id}:2380`], clientUrls: [], isLearner: false };
}

/** A member that has applied that there are 1 and 2. */
class Lagging {
  state: readonly MemberInfo[] = [member(1), member(2)];
  removed: readonly MemberId[] = [];
  peers: readonly MemberId[] = [];
  urls: readonly string[] = [];
  readonly whereabouts: Whereabouts;
  readonly acquaintances: Acquaintances;

  constructor() {
    this.whereabouts = new Whereabouts({
      members: () => this.state,
      wasRemoved: (id) => this.removed.includes(id),
    });
    const table = {
      get: (id: MemberId) => this.state.find((each) => each.id === id),
      wasRemoved: (id: MemberId) => this.removed.includes(id),
    };
    this.acquaintances = new Acquaintances({
      identity: { memberId: 4, clusterId: CLUSTER } as AcquaintancesOptions['identity'],
      met: { refusal: () => null, note: () => {} } as never,
      whereabouts: this.whereabouts,
      transport: {
        setPeers: (peers) => {
          this.peers = peers.map(({ id }) => id);
          this.urls = peers.flatMap(({ peerUrls }) => peerUrls);
        },
      },
      machine: () => ({ members: table, memberList: () => this.state }) as never,
      logger: silentLogger,
    });
    this.acquaintances.changed();
  }
}

/** What a peer says of itself when it connects. */
function peer(memberId: MemberId, ...peerUrls: readonly string[]): PeerIdentity {
  return { clusterId: CLUSTER, memberId, incarnation: 1, earlier: [], logSeq: 0, peerUrls };
}

test('a member that lags can answer one that was added meanwhile', () => {
  const lagging = new Lagging();
  expect(lagging.peers).toEqual([1, 2]);
  expect(lagging.acquaintances.admit(peer(3, 'http://n3:2380'))).toBeNull();
  expect(lagging.peers).toEqual([1, 2, 3]);
  expect(lagging.urls).toContain('http://n3:2380');
});

test('a member that has joined and applied nothing can answer whoever connects', () => {
  const lagging = new Lagging();
  lagging.state = [];
  lagging.acquaintances.admit(peer(1, 'http://n1:2380'));
  expect(lagging.urls).toEqual(['http://n1:2380']);
});

test('who was told to move is still found where it lives until it is started at its new address', () => {
  const lagging = new Lagging();
  lagging.acquaintances.admit(peer(1, 'http://n1:2380'));
  lagging.state = [{ ...member(1), peerUrls: ['http://moved:2380'] }, member(2)];
  lagging.acquaintances.changed();
  expect(lagging.urls).toEqual(['http://moved:2380', 'http://n1:2380', 'http://n2:2380']);
  lagging.acquaintances.admit(peer(1, 'http://moved:2380'));
  expect(lagging.urls).toEqual(['http://moved:2380', 'http://n2:2380']);
});

test('who says that it lives elsewhere is looked for there too', () => {
  const lagging = new Lagging();
  lagging.acquaintances.admit(peer(1, 'http://moved:2380'));
  expect(lagging.urls).toEqual(['http://n1:2380', 'http://moved:2380', 'http://n2:2380']);
  lagging.state = [{ ...member(1), peerUrls: ['http://again:2380'] }, member(2)];
  lagging.acquaintances.changed();
  expect(lagging.urls).toEqual(['http://again:2380', 'http://moved:2380', 'http://n2:2380']);
});

test('who lives again where it is known to live is looked for there only', () => {
  const lagging = new Lagging();
  lagging.acquaintances.admit(peer(1, 'http://moved:2380'));
  lagging.acquaintances.admit(peer(1, 'http://n1:2380'));
  expect(lagging.urls).toEqual(['http://n1:2380', 'http://n2:2380']);
});

test('where somebody moved is read from the end of the log, committed or not', () => {
  const lagging = new Lagging();
  const update = { type: 'member-update', id: 2, peerUrls: ['http://moved:2380'] } as const;
  const data = encodeCommand({ id: null, user: '', authRevision: 0, operation: update });
  lagging.whereabouts.read([
    { index: 1, term: 1, kind: 'conf-change', data: Buffer.from('other') },
    { index: 2, term: 1, kind: 'normal', data: Buffer.alloc(0) },
    { index: 3, term: 1, kind: 'normal', data },
  ]);
  lagging.acquaintances.changed();
  expect(lagging.urls).toEqual(['http://n1:2380', 'http://n2:2380', 'http://moved:2380']);
});

test('strangers are remembered up to a bound, and known members beyond it', () => {
  const lagging = new Lagging();
  for (let id = 100; id < 200; id++) lagging.acquaintances.admit(peer(id, `http://n${id}:2380`));
  expect(lagging.peers).toHaveLength(2 + 64);
  lagging.acquaintances.admit(peer(1, 'http://moved:2380'));
  expect(lagging.urls).toContain('http://moved:2380');
});

test('a stranger that was removed is forgotten', () => {
  const lagging = new Lagging();
  lagging.acquaintances.admit(peer(3, 'http://n3:2380'));
  lagging.removed = [3];
  lagging.acquaintances.changed();
  expect(lagging.peers).toEqual([1, 2]);
});
