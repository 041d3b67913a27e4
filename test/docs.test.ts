import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SHARED_UPDATES_BYTES_MAX } from '../src/api/config/register.ts';
import { ANSWERS_BYTES_MAX } from '../src/api/etcd/answer-budget.ts';
import { MAX_STALENESS_MS_MAX } from '../src/api/etcd/bounded.ts';
import { DEFAULT_ETCD_LIMITS } from '../src/api/etcd/limits.ts';
import { EVALUATION_BYTES_MAX } from '../src/api/flag-scope.ts';
import { SELECTOR_LENGTH_MAX } from '../src/api/flagd/selector.ts';
import { HTTP_CONNECTIONS_MAX } from '../src/api/http/http-face.ts';
import { OFREP_BEAT_MS, OFREP_STREAMS_MAX } from '../src/api/http/ofrep/event-streams.ts';
import {
  CHECKED_WHOLE_BYTES_MAX,
  PATH_PART_LENGTH_MAX,
  REST_LIMITS_DEFAULT,
  PROBLEMS_MAX as REST_PROBLEMS_MAX,
  MAX_STALENESS_MS_MAX as REST_STALENESS_MS_MAX,
} from '../src/api/http/rest/limits.ts';
import { APPLICATIONS_SHOWN_MAX } from '../src/api/http/service-metrics.ts';
import { SHARED_EVENTS_BYTES_MAX, STREAM_LIMITS_DEFAULT } from '../src/api/http/streams/limits.ts';
import { AGENT_LENGTH_MAX } from '../src/api/identity.ts';
import { STRUCT_DEPTH_MAX } from '../src/api/structs.ts';
import { STALENESS_MS_MAX } from '../src/client/bounded-read.ts';
import { ENTRY_BYTES } from '../src/client/cache-entry.ts';
import { CACHE_BOUNDS_DEFAULT, MAX_AGE_MS_MAX, MAX_AGE_MS_MIN } from '../src/client/cache-options.ts';
import { SNAPSHOT_BYTES_MAX } from '../src/client/config-snapshot.ts';
import { RENEWALS_MAX } from '../src/client/fresh-lease.ts';
import { HTTP_ANSWER_BYTES_MAX } from '../src/client/http-client.ts';
import { MEMBERS_MAX } from '../src/client/survey.ts';
import { FAILURES_MAX } from '../src/client/watch-stream.ts';
import { ALARMS_MAX } from '../src/core/alarms.ts';
import { NAME_BYTES_MAX, PRINCIPALS_MAX, ROLE_BYTES_MAX } from '../src/core/auth/auth-store.ts';
import { TXN_DEPTH_MAX } from '../src/core/command-kv.ts';
import { LEASES_MAX } from '../src/core/lease/lessor.ts';
import { WATCH_LIMITS_DEFAULT } from '../src/core/watch/hub.ts';
import * as flagLimits from '../src/evaluation/limits.ts';
import { RIGHTS_AGE_MS_MAX, TOKENS_MAX } from '../src/kv/etcd-access.ts';
import { HELD_BYTES_MAX, HELD_EVENTS_MAX } from '../src/kv/local-watch.ts';
import { BATCHES_AHEAD_MAX, CALLS_MAX } from '../src/kv/thread-messages.ts';
import { REGION_LENGTH_MAX } from '../src/lib/region.ts';
import { ITEM_BYTES_MAX } from '../src/lib/shared-bytes.ts';
import { FRESHNESS_INTERVAL_MS_DEFAULT } from '../src/member/freshness.ts';
import { DEFAULT_PREFERENCE_TIMING } from '../src/member/leader-preference.ts';
import { LEARNERS_MAX } from '../src/member/membership.ts';
import { defaultLimits, FRAME_BYTES_MAX, REQUEST_BYTES_MAX } from '../src/member/transport/limits.ts';
import { ROUND_TRIPS_KEPT } from '../src/member/transport/round-trip-meter.ts';
import { VERSION_RETENTION_DAYS_MAX } from '../src/option-service.ts';
import { LEADER_REGIONS_MAX } from '../src/options.ts';
import { CALL_BYTES, DEFAULT_CALL_LIMITS } from '../src/rpc/call-budget.ts';
import { DEFAULT_PORT_LIMITS } from '../src/rpc/client-port.ts';
import { REQUEST_PARTS_MAX } from '../src/rpc/message-parts.ts';
import { AHEAD_BYTES_MAX, AHEAD_MESSAGES_MAX, REMOTE_CALLS_MAX } from '../src/rpc/thread-calls.ts';
import { APPLICATIONS_MAX } from '../src/service/applications/applications.ts';
import { AUDIT_PAGE_MAX, AUDIT_SCANNED_MAX } from '../src/service/audit/audit.ts';
import { INDEXED_CHANGES_MAX } from '../src/service/audit/audit-index.ts';
import { BLOCK_ENTRIES } from '../src/service/audit/seal-rows.ts';
import { FINDINGS_MAX as AUDIT_FINDINGS_MAX } from '../src/service/audit/verify.ts';
import { CHANGE_SET_CHANGES_MAX, CHANGE_SET_ITEMS_MAX } from '../src/service/change-set-row.ts';
import { AMBIGUOUS_MAX, ATTEMPTS_MAX } from '../src/service/commit.ts';
import { DIFFERENCES_MAX } from '../src/service/configurations/comparison.ts';
import { EDITS_MAX } from '../src/service/configurations/edits.ts';
import { FINDINGS_MAX } from '../src/service/configurations/findings.ts';
import { VERSIONS_PAGE_MAX } from '../src/service/configurations/history.ts';
import { IMPORT_KEYS_MAX } from '../src/service/configurations/importing.ts';
import { MANY_MAX, PAGE_SIZE_MAX, RESOLVED_ANSWER_LENGTH_MAX } from '../src/service/configurations/reads.ts';
import { DEFAULTS_MAX, RULES_MAX } from '../src/service/configurations/rule-checks.ts';
import { IMPORT_ITEMS_SHOWN_MAX } from '../src/service/configurations/text-import.ts';
import { DELIVERY_INSTANCES_MAX } from '../src/service/delivery/delivery.ts';
import { INSTANCE_ID_MAX } from '../src/service/delivery/instance.ts';
import { INSTANCES_MAX } from '../src/service/delivery/instances.ts';
import { SHARDS } from '../src/service/delivery/shards.ts';
import { ENVIRONMENTS_MAX } from '../src/service/environments/environments.ts';
import { CHAIN_MAX } from '../src/service/environments/inheritance.ts';
import { AFFECTED_INSTANCES_MAX } from '../src/service/events/event.ts';
import { FILTER_KEYS_MAX } from '../src/service/events/event-filter.ts';
import { EVENT_LIMITS_DEFAULT, SUBSCRIBERS_MAX } from '../src/service/events/event-hub.ts';
import { ACCESS_MS_MAX, WAIT_MS_MAX } from '../src/service/events/events.ts';
import { REPLAY_CHANGES_MAX } from '../src/service/events/replay.ts';
import { RECORDS_MAX } from '../src/service/flags/change-feed.ts';
import { REPORTED_EXPERIMENTS_MAX, REPORTED_EXPOSURES_MAX } from '../src/service/flags/experiments.ts';
import {
  EXPERIMENT_VARIANTS_MAX,
  EXPOSURES_FLUSH_MS,
  WAITING_VARIANTS_MAX,
} from '../src/service/flags/exposures.ts';
import { FEATURE_BYTES_MAX } from '../src/service/flags/feature-content.ts';
import {
  FEATURE_EDITS_BYTES_MAX,
  FEATURE_EDITS_MAX,
  FEATURES_BYTES_MAX,
  FEATURES_MAX,
} from '../src/service/flags/feature-edits.ts';
import { FEATURE_VERSIONS_PAGE_MAX } from '../src/service/flags/feature-history.ts';
import { IMPORTED_FEATURES_MAX } from '../src/service/flags/feature-import.ts';
import { TIMED_CHANGES_MS_MIN } from '../src/service/flags/flag-changes.ts';
import { COMPILED_SCOPES_MAX } from '../src/service/flags/flag-sets.ts';
import {
  USAGE_COUNTS_MAX,
  USAGE_FLUSH_MS,
  USAGE_KEEP_HOURS,
  USAGE_SCOPES_MAX,
} from '../src/service/flags/flag-usage.ts';
import { UNIQUE_MAX } from '../src/service/flags/unique-count.ts';
import { REPORTED_COUNTS_MAX, USAGE_HOURS_MAX, USAGE_LINES_MAX } from '../src/service/flags/usage-reports.ts';
import { ENTRIES_MAX, PROBLEMS_MAX, SET_LENGTH_MAX } from '../src/service/formats/parsed-set.ts';
import { LENGTHS, TAGS_MAX } from '../src/service/names.ts';
import { CATCH_UP_MS_MAX } from '../src/service/projection.ts';
import { CONFIGURATION_BYTES_MAX, CONFIGURATIONS_MAX } from '../src/service/projection-limits.ts';
import { RECENT_BYTES_MAX, RECENT_CHANGES_MAX } from '../src/service/recent-changes.ts';
import { ROW_VALUE_BYTES_MAX } from '../src/service/rows.ts';
import { KEY_FILE_BYTES_MAX, KEYS_MAX } from '../src/service/secrets/keyring.ts';
import { RETENTION_DEFAULT } from '../src/service/sweepers/retention.ts';
import { SCHEMA_STEPS_MAX, VIOLATIONS_MAX } from '../src/service/values/compiled-schema.ts';
import { RULE_LENGTH_MAX, RULE_STEPS_MAX, RULES_STEPS_MAX } from '../src/service/values/cross-key-rules.ts';
import { CHANGES_MAX, LINE_DIFFS_MAX, LINE_EDITS_MAX } from '../src/service/values/diff.ts';
import { DEPTH_MAX } from '../src/service/values/json-limits.ts';
import { SCHEMA_LENGTH_MAX } from '../src/service/values/json-schema.ts';
import { PATTERN_INSTRUCTIONS_MAX, PATTERN_LENGTH_MAX } from '../src/service/values/linear-regex.ts';
import { REFERENCE_DEPTH_MAX, RESOLVED_LENGTH_MAX } from '../src/service/values/references.ts';
import { RULE_DEPTH_MAX, RULE_NODES_MAX } from '../src/service/values/rule-environment.ts';
import { FORMAT_LENGTH_MAX } from '../src/service/values/schema-formats.ts';
import { SUBSCHEMAS_MAX } from '../src/service/values/schema-shape.ts';
import { SUSPICIONS_MAX } from '../src/service/values/secret-scan.ts';
import { VALUE_BYTES_MAX } from '../src/service/values/value-types.ts';
import { YAML_LENGTH_MAX } from '../src/service/values/yaml-text.ts';
import { DEFAULT_HOST_BOUNDS } from '../src/service-host.ts';
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
    const counts = (...values: readonly number[]): readonly string[] => values.map(count);
    const seconds = (ms: number): string => `${ms / 1_000} s`;
    const etcd = DEFAULT_ETCD_LIMITS;
    const call = DEFAULT_CALL_LIMITS;
    const port = DEFAULT_PORT_LIMITS;
    const peer = defaultLimits;
    const preference = DEFAULT_PREFERENCE_TIMING;
    const rest = REST_LIMITS_DEFAULT;
    const watchKeys = [etcd.watchKeyBytesMax, etcd.streamWatchKeyBytesMax].map(mebibytes).join(', ');
    const said: Readonly<Record<string, readonly string[]>> = {
      'Body of a REST request': [
        mebibytes(rest.bodyBytesMax),
        `${mebibytes(rest.importBytesMax)} of one that is imported`,
      ],
      'REST requests under way': [`${count(rest.requestsMax)}, ${mebibytes(rest.heldBytesMax)}`],
      'Part of the path': [`${count(PATH_PART_LENGTH_MAX)} characters`],
      'Fields told of a REST request': [`${REST_PROBLEMS_MAX};`, `${CHECKED_WHOLE_BYTES_MAX / 1024} KiB`],
      'Staleness that a REST read': [count(REST_STALENESS_MS_MAX)],
      'Names and passwords': [`${count(rest.signInsMax)}, for ${seconds(rest.signInMs)}`],
      'Characters of a user agent': [count(AGENT_LENGTH_MAX)],
      'Exports of the audit': [count(rest.auditExportsMax)],
      'Configurations of one look back': [count(MANY_MAX)],
      'Items shown of an import': [count(IMPORT_ITEMS_SHOWN_MAX)],
      'Calls of the configuration service': [count(CALLS_MAX)],
      'Batches of a watch of the configuration service': [count(BATCHES_AHEAD_MAX)],
      'gRPC calls of the configuration service': [count(REMOTE_CALLS_MAX)],
      'Answers of one such call': [`${count(AHEAD_MESSAGES_MAX)}, ${AHEAD_BYTES_MAX / 1024} KiB`],
      'Changes that who follows flags': [count(RECORDS_MAX)],
      'Time between two notices that flags': [seconds(TIMED_CHANGES_MS_MIN)],
      'A flag or segment as it is stored': [`${FEATURE_BYTES_MAX / 1024} KiB`],
      'Flags and segments that one change touches': [
        `${FEATURE_EDITS_MAX}; ${mebibytes(FEATURE_EDITS_BYTES_MAX)}`,
      ],
      'Flags and segments, deleted ones included': [
        `${count(FEATURES_MAX)}; ${mebibytes(FEATURES_BYTES_MAX)}`,
      ],
      'Flags and segments of one import': [count(IMPORTED_FEATURES_MAX)],
      'Versions of a flag or segment on one page': [count(FEATURE_VERSIONS_PAGE_MAX)],
      'Applications in environments whose flags': [count(COMPILED_SCOPES_MAX)],
      'Counts of evaluations of one application': [`${count(USAGE_COUNTS_MAX)}; ${count(USAGE_SCOPES_MAX)}`],
      'Time until counts of evaluations': [`${seconds(USAGE_FLUSH_MS)}; ${count(USAGE_KEEP_HOURS)} hours`],
      'Hours, counts of one report': [
        `${count(USAGE_HOURS_MAX)}, ${count(USAGE_LINES_MAX)}; ${count(REPORTED_COUNTS_MAX)}`,
      ],
      'Exposures that a client reports': [
        `${count(REPORTED_EXPOSURES_MAX)}; ${count(REPORTED_EXPERIMENTS_MAX)}`,
      ],
      'Variants of a flag whose exposures are kept': [
        `${EXPERIMENT_VARIANTS_MAX}; ${WAITING_VARIANTS_MAX}; ${seconds(EXPOSURES_FLUSH_MS)}`,
      ],
      'Different targeting keys': [count(UNIQUE_MAX)],
      'Request that evaluates flags': [`${EVALUATION_BYTES_MAX / 1024} KiB`],
      'Nesting of an object that a flag answers': [count(STRUCT_DEPTH_MAX)],
      'Selector of flags': [count(SELECTOR_LENGTH_MAX)],
      'Event streams of OFREP': [`${count(OFREP_STREAMS_MAX)}; ${seconds(OFREP_BEAT_MS)}`],
      'Updates that are kept as they go out': [`${SHARED_UPDATES_BYTES_MAX / 2 ** 20} MiB`],
      'Age of what a stream knows': [seconds(ACCESS_MS_MAX)],
      'Time between two signs of life': [
        seconds(STREAM_LIMITS_DEFAULT.heartbeatMs),
        String(STREAM_LIMITS_DEFAULT.heartbeatsMissedMax),
      ],
      'Time that a client of such a stream has': [seconds(STREAM_LIMITS_DEFAULT.stallMsMax)],
      'Message of a WebSocket client': [
        `${STREAM_LIMITS_DEFAULT.messageBytesMax / 1_024} KiB`,
        count(STREAM_LIMITS_DEFAULT.messagesMax),
      ],
      'Time that such clients have to answer': [seconds(STREAM_LIMITS_DEFAULT.closeMsMax)],
      'Events that are kept as they go out over HTTP': [
        `${SHARED_EVENTS_BYTES_MAX / 2 ** 20} MiB`,
        `${ITEM_BYTES_MAX / 1_024} KiB`,
      ],
      'Time that a poll waits': [seconds(WAIT_MS_MAX)],
      'Connections of each HTTP address': [count(HTTP_CONNECTIONS_MAX)],
      "JavaScript memory of the service's thread": [`${count(DEFAULT_HOST_BOUNDS.heapMbMax)} MiB`],
      "Time between two starts of the service's thread": [
        `${seconds(DEFAULT_HOST_BOUNDS.restartMsMin)}, doubled to ${seconds(DEFAULT_HOST_BOUNDS.restartMsMax)}`,
        `ran for ${seconds(DEFAULT_HOST_BOUNDS.steadyMs)}`,
      ],
      "Time that the service's thread has": [seconds(DEFAULT_HOST_BOUNDS.drainMsMax)],
      'Applications with metrics of their own': [count(APPLICATIONS_SHOWN_MAX)],
      'Events, bytes that a watch': [`${count(HELD_EVENTS_MAX)}, ${mebibytes(HELD_BYTES_MAX)}`],
      'Age of what a gateway knows': [seconds(RIGHTS_AGE_MS_MAX)],
      'Tokens whose users': [count(TOKENS_MAX)],
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
      'Snapshot file of the configuration client': [`${mebibytes(SNAPSHOT_BYTES_MAX)}, one writing a second`],
      'Answer over HTTP': [mebibytes(HTTP_ANSWER_BYTES_MAX)],
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
      'Key of a flag': counts(
        flagLimits.KEY_LENGTH_MAX,
        flagLimits.NAME_LENGTH_MAX,
        flagLimits.TEXT_LENGTH_MAX,
      ),
      'Flag or segment as JSON': [
        `${count(flagLimits.DEFINITION_LENGTH_MAX)} characters`,
        `${flagLimits.JSON_DEPTH_MAX} deep, conditions ${flagLimits.CONDITION_DEPTH_MAX}`,
      ],
      'Variants, rules': counts(
        flagLimits.VARIANTS_MAX,
        flagLimits.RULES_MAX,
        flagLimits.SCHEDULE_MAX,
        flagLimits.RAMP_POINTS_MAX,
      ),
      'Prerequisites, services': counts(
        flagLimits.PREREQUISITES_MAX,
        flagLimits.SERVICES_MAX,
        flagLimits.METADATA_MAX,
      ),
      'Conditions in a list': counts(flagLimits.CONDITIONS_MAX, flagLimits.VALUES_MAX, flagLimits.KEYS_MAX),
      'Weights of a split': [count(flagLimits.TOTAL_WEIGHT_MAX)],
      'Regular expression of a flag': [
        `${count(flagLimits.TEXT_LENGTH_MAX)} characters and ${flagLimits.PATTERN_PROGRAM_MAX} instructions`,
        `${count(flagLimits.PATTERN_INPUT_LENGTH_MAX)} characters`,
      ],
      'Texts whose traces': [`${count(flagLimits.PATTERN_MEMORY_LENGTH)} characters`],
      'Steps of one evaluation': [count(flagLimits.STEPS_MAX)],
      'References of flags to flags': [`${flagLimits.REFERENCE_DEPTH_MAX} deep`],
      'Findings that are listed': [count(flagLimits.FINDINGS_MAX)],
      'A value of a configuration': [`${VALUE_BYTES_MAX / 1024} KiB`],
      'File of keys that seal': [`${KEY_FILE_BYTES_MAX / 1024} KiB`, count(KEYS_MAX)],
      'Schema of a configuration': [`${count(SCHEMA_LENGTH_MAX)} characters, ${count(SUBSCHEMAS_MAX)}`],
      'Check of one value': [`${count(SCHEMA_STEPS_MAX)} steps`],
      'Findings of a schema': [count(VIOLATIONS_MAX)],
      'Pattern of a schema': [
        `${count(PATTERN_LENGTH_MAX)} characters, ${count(PATTERN_INSTRUCTIONS_MAX)} instructions`,
      ],
      'A text that has a format': [`${count(FORMAT_LENGTH_MAX)} characters`],
      'Changes that a comparison': [count(CHANGES_MAX)],
      'Lengths: key': [
        [
          LENGTHS.key,
          LENGTHS.application,
          LENGTHS.tenant,
          LENGTHS.environment,
          LENGTHS.tag,
          LENGTHS.changeSet,
        ].join(', '),
      ],
      'Description, reason': [
        count(LENGTHS.description),
        count(LENGTHS.reason),
        count(LENGTHS.idempotencyKey),
      ],
      'Tags of a configuration': [count(TAGS_MAX)],
      'Configurations that one change': [count(EDITS_MAX)],
      'Keys of an import': [count(IMPORT_KEYS_MAX)],
      'Value that stands': [`${ROW_VALUE_BYTES_MAX / 1024} KiB`],
      'Configurations, deleted': [count(CONFIGURATIONS_MAX), `${CONFIGURATION_BYTES_MAX / 1024 ** 3} GiB`],
      'Changes that a server': [count(RECENT_CHANGES_MAX), mebibytes(RECENT_BYTES_MAX)],
      'Time that a read': [seconds(CATCH_UP_MS_MAX)],
      'Attempts of a change': [count(ATTEMPTS_MAX), count(AMBIGUOUS_MAX)],
      'Environments of a tenant': [count(ENVIRONMENTS_MAX), count(CHAIN_MAX)],
      'Applications of a tenant': [count(APPLICATIONS_MAX)],
      'Default values': [count(DEFAULTS_MAX), count(RULES_MAX)],
      'Configurations of a page': [count(PAGE_SIZE_MAX), count(MANY_MAX)],
      'Versions of a page': [count(VERSIONS_PAGE_MAX)],
      'Keys that a comparison': [count(DIFFERENCES_MAX)],
      'Findings, problems': [count(FINDINGS_MAX)],
      'Changes of a change set': [count(CHANGE_SET_CHANGES_MAX), count(CHANGE_SET_ITEMS_MAX)],
      'Versions that were replaced': [
        `${RETENTION_DEFAULT.keepMs! / 86_400_000} days`,
        `to ${count(VERSION_RETENTION_DAYS_MAX)} days`,
      ],
      'Strings that a comparison': [`${count(LINE_DIFFS_MAX)}, ${count(LINE_EDITS_MAX)}`],
      'All values of one answer with their references': [`${RESOLVED_ANSWER_LENGTH_MAX / 1024 ** 2} MiB`],
      'A value with its references': [`${RESOLVED_LENGTH_MAX / 1024} KiB, ${REFERENCE_DEPTH_MAX}`],
      'Rule over several keys': [
        `${count(RULE_LENGTH_MAX)} characters, ${count(RULE_NODES_MAX)} parts, ${RULE_DEPTH_MAX} deep`,
      ],
      'Check of one rule': [`${count(RULE_STEPS_MAX)}, ${count(RULES_STEPS_MAX)} steps`],
      'Suspected secrets': [count(SUSPICIONS_MAX)],
      'Text that is imported': [
        `${count(SET_LENGTH_MAX)} characters, ${count(ENTRIES_MAX)}, ${count(PROBLEMS_MAX)}`,
      ],
      'YAML that is imported': [`${count(YAML_LENGTH_MAX)} characters`],
      'Changes of a page of the audit': [count(AUDIT_PAGE_MAX), count(AUDIT_SCANNED_MAX)],
      'Changes that the audit finds': [count(INDEXED_CHANGES_MAX)],
      'Changes of a block': [count(BLOCK_ENTRIES)],
      'Findings that a check': [count(AUDIT_FINDINGS_MAX)],
      'Events that a server keeps': [
        count(EVENT_LIMITS_DEFAULT.logEvents),
        count(EVENT_LIMITS_DEFAULT.warmChanges),
      ],
      'Events that wait': [count(EVENT_LIMITS_DEFAULT.bufferedEvents)],
      "Changes that a subscriber's cursor": [count(REPLAY_CHANGES_MAX)],
      'Subscribers of a server': [count(SUBSCRIBERS_MAX)],
      'Keys that a subscription': [count(FILTER_KEYS_MAX)],
      'Instances of a server': [count(INSTANCES_MAX)],
      'Id of an instance': [count(INSTANCE_ID_MAX)],
      'Instances that a report': [`${count(DELIVERY_INSTANCES_MAX)}; ${count(AFFECTED_INSTANCES_MAX)}`],
      "Rows of a server's instances": [count(SHARDS)],
      'JSON within JSON': [`${DEPTH_MAX} deep`],
    };
    expect(rows.some(([name]) => name!.includes(`${ENTRY_BYTES} bytes more for each entry`))).toBe(true);
    for (const [limit, parts] of Object.entries(said)) {
      for (const part of parts) expect(valueOf(limit)).toContain(part);
    }
    expect(rows.some(([name]) => name!.includes(`counted as ${flagLimits.PATTERN_STEPS}`))).toBe(true);
    expect(rows.filter(([name]) => name!.includes(`${CALL_BYTES / 1024} KiB each`))).toHaveLength(2);
  });
});

test('the limits that the reference of the API repeats are those there are', () => {
  const count = (value: number): string => value.toLocaleString('en');
  const table = read('docs/api.md').split('\n## Limits\n')[1]!.split('\n## ')[0]!;
  const rows = [...table.matchAll(/^\| (\S.*) \| (\S.*) \|$/gm)].map(([, limit, value]) => [limit, value]);
  const { bodyBytesMax, importBytesMax } = REST_LIMITS_DEFAULT;
  expect(PAGE_SIZE_MAX).toBe(MANY_MAX);
  expect(Object.fromEntries(rows)).toEqual({
    Value: `${VALUE_BYTES_MAX / 1024} KiB of JSON`,
    'Body of a request; of an import': `${bodyBytesMax / 2 ** 20} MiB; ${importBytesMax / 2 ** 20} MiB`,
    'Changes in one transaction': count(EDITS_MAX),
    'Page; keys of a bulk read': count(PAGE_SIZE_MAX),
    'Key; application, tenant; environment; tag': `${[LENGTHS.key, LENGTHS.application, LENGTHS.environment, LENGTHS.tag].join('; ')} characters`,
    'Tags of a configuration': count(TAGS_MAX),
    'Default values, rules of an application': `${count(DEFAULTS_MAX)}, ${count(RULES_MAX)}`,
  });
  expect(LENGTHS.tenant).toBe(LENGTHS.application);
});

test('the README has the way to every document', () => {
  const linked = [...read('README.md').matchAll(/\((docs\/[\w.-]+)\)/g)].map(([, path]) => path!);
  expect(linked.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  const documents = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  expect(documents.filter((name) => !linked.includes(`docs/${name}`))).toEqual([]);
});

test('every seed that the track record says a bug was found by is run with every change', () => {
  const seeds = [...read('docs/track-record.md').matchAll(/npm run sim -- --seed (\d+)/g)].map(([, seed]) =>
    Number(seed),
  );
  expect(seeds.length).toBeGreaterThan(5);
  const known = new Set(REGRESSION_SEEDS);
  expect(seeds.filter((seed) => !known.has(seed))).toEqual([]);
});
