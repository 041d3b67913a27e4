import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ANSWERS_BYTES_MAX } from '../src/api/etcd/answer-budget.ts';
import { MAX_STALENESS_MS_MAX } from '../src/api/etcd/bounded.ts';
import { DEFAULT_ETCD_LIMITS } from '../src/api/etcd/limits.ts';
import { STALENESS_MS_MAX } from '../src/client/bounded-read.ts';
import { ENTRY_BYTES } from '../src/client/cache-entry.ts';
import { CACHE_BOUNDS_DEFAULT, MAX_AGE_MS_MAX, MAX_AGE_MS_MIN } from '../src/client/cache-options.ts';
import { RENEWALS_MAX } from '../src/client/fresh-lease.ts';
import { MEMBERS_MAX } from '../src/client/survey.ts';
import { FAILURES_MAX } from '../src/client/watch-stream.ts';
import { ALARMS_MAX } from '../src/core/alarms.ts';
import { NAME_BYTES_MAX, PRINCIPALS_MAX, ROLE_BYTES_MAX } from '../src/core/auth/auth-store.ts';
import { TXN_DEPTH_MAX } from '../src/core/command-kv.ts';
import { LEASES_MAX } from '../src/core/lease/lessor.ts';
import { WATCH_LIMITS_DEFAULT } from '../src/core/watch/hub.ts';
import { REGION_LENGTH_MAX } from '../src/lib/region.ts';
import { FRESHNESS_INTERVAL_MS_DEFAULT } from '../src/member/freshness.ts';
import { DEFAULT_PREFERENCE_TIMING } from '../src/member/leader-preference.ts';
import { LEARNERS_MAX } from '../src/member/membership.ts';
import { defaultLimits, FRAME_BYTES_MAX, REQUEST_BYTES_MAX } from '../src/member/transport/limits.ts';
import { ROUND_TRIPS_KEPT } from '../src/member/transport/round-trip-meter.ts';
import { LEADER_REGIONS_MAX } from '../src/options.ts';
import { CALL_BYTES, DEFAULT_CALL_LIMITS } from '../src/rpc/call-budget.ts';
import { DEFAULT_PORT_LIMITS } from '../src/rpc/client-port.ts';
import { REQUEST_PARTS_MAX } from '../src/rpc/message-parts.ts';
import { REGRESSION_SEEDS } from './sim/regression-seeds.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

/** Of the catalogue of known bugs (RELIABILITY 3). */
const ITEMS = Array.from({ length: 67 }, (_, i) => `P-${i + 1}`);

const PROOF = [
  'docs/faults.md',
  'docs/guarantees.md',
  'docs/track-record.md',
  'docs/put-back-bugs.md',
  'docs/soak.md',
];
/** Where patches lie that nobody has found: the folder is there only as long as there are some. */
const MAY_BE_ABSENT = new Set(['test/sim/bugs/open']);

test.each(PROOF)('%s names files that exist', (path) => {
  const named = [...read(path).matchAll(/`((?:test|src|docs|cluster)\/[\w./-]+)/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(2);
  const absent = named.filter((name) => !MAY_BE_ABSENT.has(name) && !existsSync(join(ROOT, name)));
  expect(absent).toEqual([]);
});

describe('guarantees', () => {
  const sections = read('docs/guarantees.md').split(/^## /m).slice(1);

  test.each(sections.map((text) => [text.split('\n', 1)[0]!, text] as const))(
    '%s: held by a test',
    (_, text) => {
      expect(text).toMatch(/held by/i);
      expect(text).toMatch(/`test\/[\w./-]+`/);
      const rows = text.split('\n').filter((line) => /^\|(?!-)/.test(line));
      for (const row of rows.slice(1)) expect(row).toMatch(/`test\/|\| the same/);
    },
  );
});

describe('bugs put back', () => {
  const text = read('docs/put-back-bugs.md');
  const [put, without] = text.split('## Items without a patch') as [string, string];
  const itemsOf = (part: string): readonly string[] =>
    [...part.matchAll(/^\| ([A-Z]-?\d+) \|/gm)].map(([, item]) => item!);

  test('every patch is in the table with its item, and every row has its patch', () => {
    const directory = join(ROOT, 'test/sim/bugs');
    const patches = readdirSync(directory).filter((name) => name.endsWith('.patch'));
    const wanted = patches.map((name) => {
      const [, item] = /^# ([A-Z]-?\d+):/.exec(readFileSync(join(directory, name), 'utf8'))!;
      return `${item} ${name.slice(0, -'.patch'.length)}`;
    });
    const rows = [...put.matchAll(/^\| ([A-Z]-?\d+) \| `([\w-]+)` \|/gm)].map((row) => `${row[1]} ${row[2]}`);
    expect(rows.toSorted()).toEqual(wanted.toSorted());
    expect(put).toContain(`Each of the ${patches.length} was found`);
  });

  test('every item of the catalogue has a patch or a reason', () => {
    const all = new Set([...itemsOf(put), ...itemsOf(without)]);
    expect(ITEMS.filter((item) => !all.has(item))).toEqual([]);
    expect(itemsOf(without).filter((item) => itemsOf(put).includes(item))).toEqual([]);
  });
});

describe('faults', () => {
  const text = read('docs/faults.md');

  test('each of the catalogue is in the table once', () => {
    const rows = [...text.matchAll(/^\| F(\d+) /gm)].map(([, number]) => Number(number));
    expect(rows).toEqual(Array.from({ length: 59 }, (_, i) => i + 1));
  });

  test('what is named of the simulator and of the fault runs is there', () => {
    const kinds =
      read('test/sim/plan.ts') + read('test/process/faults.ts') + read('test/process/crash-steps.json');
    const bugs = readdirSync(join(ROOT, 'test/sim/bugs')).map((name) => name.replace('.patch', ''));
    const named = [...text.matchAll(/`([a-z][a-z -]+)`/g)].map(([, name]) => name!);
    const isKnown = (name: string): boolean =>
      ['sim', 'runs', 'points', 'images', ...bugs].includes(name) ||
      [`'${name}'`, `"${name}"`, `  ${name}: ${name},`].some((form) => kinds.includes(form));
    expect(named.filter((name) => !isKnown(name))).toEqual([]);
    const done = [...read('test/process/faults.ts').matchAll(/^ {2}'([a-z-]+)':/gm)].map(([, name]) => name!);
    expect(done.length).toBeGreaterThan(15);
    expect(done.filter((name) => !named.includes(name))).toEqual([]);
  });
});

describe('limits', () => {
  const rows = read('docs/limits.md')
    .split('\n')
    .filter((line) => /^\| (?!Limit)/.test(line))
    .map((line) => line.slice(2, -2).split(' | '));
  const valueOf = (limit: string): string => rows.find(([name]) => name!.startsWith(limit))![1]!;

  test('each says where it is', () => {
    expect(rows.length).toBeGreaterThan(50);
    for (const [limit, value, atLimit, where] of rows) {
      expect([limit, value, atLimit, where].every((cell) => cell !== undefined && cell !== '')).toBe(true);
      const files = [...where!.matchAll(/`([\w./-]+)`/g)].map(([, file]) => file!);
      expect(files.length).toBeGreaterThan(0);
      expect(files.filter((file) => !existsSync(join(ROOT, 'src', file)))).toEqual([]);
    }
  });

  test('those that tests set, or take from the code, are what the table says', () => {
    const mebibytes = (bytes: number): string => `${bytes / 1024 / 1024} MiB`;
    const count = (value: number): string => value.toLocaleString('en');
    const seconds = (ms: number): string => `${ms / 1_000} s`;
    const etcd = DEFAULT_ETCD_LIMITS;
    const call = DEFAULT_CALL_LIMITS;
    const port = DEFAULT_PORT_LIMITS;
    const peer = defaultLimits;
    const preference = DEFAULT_PREFERENCE_TIMING;
    const watchKeys = [etcd.watchKeyBytesMax, etcd.streamWatchKeyBytesMax].map(mebibytes).join(', ');
    const said: Readonly<Record<string, readonly string[]>> = {
      'Request that writes': [mebibytes(etcd.requestBytesMax)],
      'Operations in each part': [count(etcd.txnOpsMax)],
      'Fields of a request': [count(REQUEST_PARTS_MAX)],
      'Nested transactions': [`${TXN_DEPTH_MAX} deep`],
      'User and role names': [`${NAME_BYTES_MAX / 1024} KiB`],
      'Users, roles': [count(PRINCIPALS_MAX)],
      'Keys in one role': [mebibytes(ROLE_BYTES_MAX)],
      Leases: [count(LEASES_MAX)],
      Alarms: [count(ALARMS_MAX)],
      Learners: [count(LEARNERS_MAX)],
      "Bound of a read's age": [`${count(STALENESS_MS_MAX)} ms`],
      'Members that the Node client': [count(MEMBERS_MAX)],
      'Failures of a watch': [`${count(FAILURES_MAX)}, about a minute`],
      'Name of a region': [`${REGION_LENGTH_MAX} characters`],
      'Regions where leaders are wanted': [count(LEADER_REGIONS_MAX)],
      'A leader in a less wanted region': [
        `leads ${seconds(preference.tenureMs)} at least`,
        `kept up for ${seconds(preference.healthyMs)}`,
      ],
      'Round trips that count': [`${ROUND_TRIPS_KEPT} pings`],
      'Watchers on a member': [
        count(WATCH_LIMITS_DEFAULT.watchersMax),
        count(WATCH_LIMITS_DEFAULT.watchersPerStreamMax),
      ],
      'Requests for fresh progress': [count(WATCH_LIMITS_DEFAULT.noncesMax)],
      'Staleness that a read': [count(MAX_STALENESS_MS_MAX)],
      'Time between two of them': [`${FRESHNESS_INTERVAL_MS_DEFAULT} ms`],
      'Keys and ends of open watches': [watchKeys],
      'Watches of a stream that wait': [count(etcd.waitingWatchesMax)],
      'Answers above 1 MiB on their way': [mebibytes(ANSWERS_BYTES_MAX)],
      'Memory of requests over HTTP': [mebibytes(call.requestBytesMax)],
      'Memory of requests, open calls': [
        mebibytes(call.requestBytesMax),
        `${mebibytes(call.connectionRequestBytesMax)} on a connection`,
      ],
      'Time for a request to arrive whole': [seconds(call.requestTimeoutMs)],
      'Connections of clients': [count(port.connectionsMax)],
      'Connections that have not shown': [
        count(port.undecidedMax),
        `${seconds(port.tlsHandshakeTimeoutMs)} for TLS`,
        `${seconds(port.firstBytesTimeoutMs)} for the first bytes`,
      ],
      'HTTP/1.1': [`in ${seconds(port.headersTimeoutMs)}`, `request in ${seconds(port.requestTimeoutMs)}`],
      'Connections of members': [count(peer.connectionsMax), count(peer.pendingHandshakesMax)],
      'Frame, request between members': [`${mebibytes(FRAME_BYTES_MAX)}, ${mebibytes(REQUEST_BYTES_MAX)}`],
      'Keys, bytes of a cache': [
        count(CACHE_BOUNDS_DEFAULT.keysMax),
        mebibytes(CACHE_BOUNDS_DEFAULT.bytesMax),
      ],
      "Bound of a cache's freshness lease": [`${count(MAX_AGE_MS_MIN)} ms to ${count(MAX_AGE_MS_MAX)} ms`],
      'Renewals of a freshness lease': [count(RENEWALS_MAX)],
    };
    expect(rows.some(([name]) => name!.includes(`${ENTRY_BYTES} bytes more for each entry`))).toBe(true);
    for (const [limit, parts] of Object.entries(said)) {
      for (const part of parts) expect(valueOf(limit)).toContain(part);
    }
    expect(rows.filter(([name]) => name!.includes(`${CALL_BYTES / 1024} KiB each`))).toHaveLength(2);
  });
});

test('every seed that the track record says a bug was found by is run with every change', () => {
  const seeds = [...read('docs/track-record.md').matchAll(/npm run sim -- --seed (\d+)/g)].map(([, seed]) =>
    Number(seed),
  );
  expect(seeds.length).toBeGreaterThan(5);
  const known = new Set(REGRESSION_SEEDS);
  expect(seeds.filter((seed) => !known.has(seed))).toEqual([]);
});
