import { ROOT } from './comparison.ts';
import { canonical } from './plain.ts';
import type { Outcome, Side } from './side.ts';

/**
 * Differences that are meant and would lead the two servers apart, were they in a random stream: each is shown once,
 * on both. The table in docs/etcd-compatibility.md names each by `id`.
 */
export interface Deliberate {
  readonly id: string;
  /** What is to be seen, the same work on either side. */
  readonly show: (side: Side) => Promise<unknown>;
  readonly etcd: unknown;
  readonly conclave: unknown;
}

const bytes = (text: string): Buffer => Buffer.from(text);
const put = (key: string) => ({ request_put: { key: bytes(key), value: bytes('v') } });
const TO_END = Buffer.from([0]);
const UNKNOWN = 99;

export const DELIBERATE: readonly Deliberate[] = [
  {
    id: 'unknown-comparison',
    show: (side) =>
      statusOf(side.call('KV/Txn', { compare: [{ key: bytes('k'), target: UNKNOWN }], success: [put('k')] })),
    etcd: 'ok',
    conclave: '3 etcdserver: invalid comparison',
  },
  {
    id: 'put-beside-delete-to-end',
    show: (side) =>
      statusOf(
        side.call('KV/Txn', {
          success: [{ request_delete_range: { key: bytes('x'), range_end: TO_END } }, put('y')],
        }),
      ),
    etcd: 'ok',
    conclave: '3 etcdserver: duplicate key given in txn request',
  },
  {
    id: 'unknown-sort-option',
    show: (side) =>
      statusOf(
        side.call('KV/Txn', {
          success: [put('s'), { request_range: { key: bytes('s'), sort_order: UNKNOWN } }],
        }),
      ),
    etcd: 'ok',
    conclave: '3 etcdserver: invalid sort option',
  },
  {
    id: 'inner-puts-need-space',
    show: async (side) => {
      const alarm = { memberID: side.identity.member, alarm: 1 };
      await side.call('Maintenance/Alarm', { ...alarm, action: 1 });
      const seen = await statusOf(
        side.call('KV/Txn', { success: [{ request_txn: { success: [put('i')] } }] }),
      );
      await side.call('Maintenance/Alarm', { ...alarm, action: 2 });
      return seen;
    },
    etcd: 'ok',
    conclave: '8 etcdserver: mvcc: database space exceeded',
  },
  {
    id: 'alarm-of-no-kind',
    show: async (side) => {
      const alarm = { memberID: side.identity.member, alarm: 0 };
      await side.call('Maintenance/Alarm', { ...alarm, action: 1 });
      const listed = await side.call('Maintenance/Alarm', {});
      await side.call('Maintenance/Alarm', { ...alarm, action: 2 });
      return listed.ok && (listed.answer as { readonly alarms: readonly unknown[] }).alarms.length;
    },
    etcd: 1,
    conclave: 0,
  },
  {
    id: 'alarm-of-nobody',
    show: async (side) => {
      const raised = await side.call('Maintenance/Alarm', { action: 1, alarm: 1 });
      for (const memberID of [0, side.identity.member]) {
        await side.call('Maintenance/Alarm', { action: 2, memberID, alarm: 1 });
      }
      return raised.ok && (raised.answer as { readonly alarms: readonly unknown[] }).alarms;
    },
    etcd: [{ alarm: '1' }],
    conclave: [{ memberID: '(member)', alarm: '1' }],
  },
  {
    // A transaction of who may not read: of what was there before, and of a range within another transaction.
    id: 'transaction-permissions',
    show: (side) =>
      withWriter(side, async () => {
        const tried = (op: object): Promise<string> =>
          statusOf(side.call('KV/Txn', { success: [op] }, 'writer'));
        return [
          await tried({ request_range: { key: bytes('p') } }),
          await tried({ request_put: { key: bytes('p'), prev_kv: true } }),
          await tried({ request_txn: { success: [{ request_range: { key: bytes('p') } }] } }),
        ];
      }),
    etcd: ['7 etcdserver: permission denied', 'ok', 'ok'],
    conclave: [
      '7 etcdserver: permission denied',
      '7 etcdserver: permission denied',
      '7 etcdserver: permission denied',
    ],
  },
  {
    id: 'watch-from-negative-revision',
    show: async (side) => {
      const tape = side.watches(1);
      tape.send({ create_request: { key: bytes('k'), start_revision: -1 } });
      await tape.until(() => tape.answers > 0);
      return tape.isOpen('0');
    },
    etcd: true,
    conclave: false,
  },
  {
    // Before the awaited revision; the creation after it shows that no answer came in between.
    id: 'progress-before-awaited-revision',
    show: async (side) => {
      const tape = side.watches(2);
      tape.send({ create_request: { key: bytes('k'), start_revision: 1_000_000 } });
      await tape.until(() => tape.answers > 0);
      tape.send({ progress_request: {} });
      tape.send({ create_request: { key: bytes('k'), watch_id: 7 } });
      await tape.until(() => tape.isOpen('7'));
      return tape.count('-1');
    },
    etcd: 1,
    conclave: 0,
  },
  {
    id: 'watch-id-after-compaction',
    show: async (side) => {
      await side.call('KV/Put', { key: bytes('c') });
      await side.call('KV/Compact', { revision: 2 });
      const tape = side.watches(3);
      tape.send({ create_request: { key: bytes('c'), watch_id: 5, start_revision: 1 } });
      // It is created, and ended by the compaction.
      await tape.until(() => tape.count('5') === 2);
      tape.send({ create_request: { key: bytes('c'), watch_id: 5 } });
      await tape.until(() => tape.isOpen('5') || tape.count('-1') > 0);
      return canonical(tape.items()).includes('duplicate watch ID');
    },
    etcd: true,
    conclave: false,
  },
  {
    id: 'compaction-cancel-reason',
    show: async (side) => {
      const tape = side.watches(4);
      tape.send({ create_request: { key: bytes('c'), start_revision: 1 } });
      await tape.until(() => tape.hasCompacted);
      return tape.reason;
    },
    etcd: '',
    conclave: 'etcdserver: mvcc: required revision has been compacted',
  },
];

/** root, and a user who may write everything but read nothing, on `side`; with authentication enabled. */
async function withWriter(side: Side, work: () => Promise<unknown>): Promise<unknown> {
  const auth = (method: string, request: object): Promise<Outcome> => side.call(`Auth/${method}`, request);
  const perm = { permType: 1, key: TO_END, range_end: TO_END };
  for (const [method, request] of [
    ['UserAdd', ROOT],
    ['RoleAdd', { name: 'root' }],
    ['UserGrantRole', { user: ROOT.name, role: 'root' }],
    ['UserAdd', { name: 'writer', password: 'w' }],
    ['RoleAdd', { name: 'writer' }],
    ['RoleGrantPermission', { name: 'writer', perm }],
    ['UserGrantRole', { user: 'writer', role: 'writer' }],
    ['AuthEnable', {}],
  ] as const) {
    await auth(method, request);
  }
  await side.login(ROOT.name, ROOT.password);
  await side.login('writer', 'w');
  try {
    return await work();
  } finally {
    await side.call('Auth/AuthDisable', {}, ROOT.name);
  }
}

async function statusOf(asked: Promise<Outcome>): Promise<string> {
  const outcome = await asked;
  return outcome.ok ? 'ok' : `${outcome.code} ${outcome.text}`;
}
