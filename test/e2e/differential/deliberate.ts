import { ROOT } from './comparison.ts';
import { canonical, plain } from './plain.ts';
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
      withUser(side, [{ permType: 1, key: TO_END, range_end: TO_END }], async (name) => {
        const tried = (op: object): Promise<string> => statusOf(side.call('KV/Txn', { success: [op] }, name));
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
    // Of who may read one key: a watch of that key and of all behind it, and after it one of the key alone.
    id: 'watch-to-end-permission',
    show: (side) =>
      withUser(side, [{ permType: 0, key: bytes('w') }], async (name) => {
        const tape = side.watches(5, name);
        tape.send({ create_request: { key: bytes('w'), range_end: TO_END, watch_id: 1 } });
        tape.send({ create_request: { key: bytes('w'), watch_id: 2 } });
        await tape.until(() => tape.isOpen('2'));
        return tape.isOpen('1');
      }),
    etcd: true,
    conclave: false,
  },
  {
    // Ends before it begins. What etcd finds depends on the shape of its tree of permissions.
    id: 'inverted-range-permission',
    show: async (side) => {
      const inverted = { key: bytes('k4'), range_end: bytes('a') };
      const asked = (name: string): Promise<string> => statusOf(side.call('KV/Range', inverted, name));
      const ofRange = { permType: 0, key: bytes('k'), range_end: bytes('l') };
      const ofAnother = { permType: 0, key: bytes('a'), range_end: bytes('b') };
      return [await withUser(side, [ofRange], asked), await withUser(side, [ofAnother, ofRange], asked)];
    },
    etcd: ['ok', '7 etcdserver: permission denied'],
    conclave: ['ok', 'ok'],
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

/** With authentication enabled, for `work` in the name of a user who has just these permissions. */
async function withUser<T>(
  side: Side,
  permissions: readonly object[],
  work: (name: string) => Promise<T>,
): Promise<T> {
  const name = `user-${permissions.map((permission) => canonical(plain(permission))).join()}`;
  const auth = (method: string, request: object): Promise<Outcome> => side.call(`Auth/${method}`, request);
  for (const [method, request] of [
    ['UserAdd', ROOT],
    ['RoleAdd', { name: 'root' }],
    ['UserGrantRole', { user: ROOT.name, role: 'root' }],
    ['UserAdd', { name, password: 'w' }],
    ['RoleAdd', { name }],
    ...permissions.map((perm) => ['RoleGrantPermission', { name, perm }] as const),
    ['UserGrantRole', { user: name, role: name }],
    ['AuthEnable', {}],
  ] as const) {
    await auth(method, request);
  }
  await side.login(ROOT.name, ROOT.password);
  await side.login(name, 'w');
  try {
    return await work(name);
  } finally {
    await side.call('Auth/AuthDisable', {}, ROOT.name);
  }
}

async function statusOf(asked: Promise<Outcome>): Promise<string> {
  const outcome = await asked;
  return outcome.ok ? 'ok' : `${outcome.code} ${outcome.text}`;
}
