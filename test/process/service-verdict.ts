import { KvClient } from '../../src/client/kv-client.ts';
import type { KeyValue } from '../../src/client/types.ts';
import { EtcdKv } from '../../src/kv/etcd-kv.ts';
import { prefixEnd } from '../../src/lib/range-end.ts';
import { verifyAudit } from '../../src/service/audit/verify.ts';
import { idOf, PREFIXES, versionKey } from '../../src/service/keyspace.ts';
import type { ConfigurationVersion } from '../../src/service/model.ts';
import { decodeChange, decodeVersion } from '../../src/service/rows.ts';
import { eventually } from '../support/eventually.ts';
import { type Recorded, type ServiceRows, serviceRows } from '../support/service-rows.ts';
import type { ServiceSubscriber, Told } from './service-subscriber.ts';
import type { ServiceRead, ServiceWorkload, ServiceWrite } from './service-workload.ts';

/** Rows of one page. */
const PAGE_ROWS = 1_000;

/** Reads the whole store. */
export async function readRows(endpoints: readonly string[]): Promise<ServiceRows> {
  using client = new KvClient({ endpoints });
  const rows: KeyValue[] = [];
  let key = Buffer.from('/');
  let revision = 0;
  for (;;) {
    const page = await client.range({
      key,
      rangeEnd: prefixEnd(Buffer.from('/')),
      revision,
      limit: PAGE_ROWS,
    });
    if (revision === 0) revision = page.header.revision;
    rows.push(...page.kvs);
    if (!page.more) return serviceRows(rows);
    key = Buffer.concat([page.kvs.at(-1)!.key, Buffer.from([0])]);
  }
}

/** What the record of every request says is what its answers said, once. */
export function checkWrites(
  { changes, byKey }: ServiceRows,
  writes: readonly ServiceWrite[],
): readonly string[] {
  const findings: string[] = [];
  const known = new Set<string>();
  for (const write of writes) {
    const id = idOf(['change', write.user, 'bulk', write.idempotencyKey]);
    known.add(id);
    const row = byKey.get(`${PREFIXES.change}${id}`);
    if (write.done === null) {
      // An earlier attempt, of which nothing is known, may have been made after this one was refused.
      if (row !== undefined && write.attempts === 1)
        findings.push(`${write.idempotencyKey} was refused, and made`);
      continue;
    }
    if (row === undefined) findings.push(`${write.idempotencyKey} was acknowledged, and is lost`);
    else if (row.modRevision !== write.done.revision) {
      findings.push(`${write.idempotencyKey} was made at ${row.modRevision}, not ${write.done.revision}`);
    } else {
      const items = decodeChange(row.value).items.flatMap((item) =>
        item.kind === 'configuration' ? [`${item.key}:${item.after}`] : [],
      );
      const answered = [...write.done.versions].map(([key, version]) => `${key}:${version}`);
      if (items.sort().join() !== answered.sort().join() || items.length !== write.keys.length) {
        findings.push(`${write.idempotencyKey} made ${items.join()}, and was answered ${answered.join()}`);
      }
    }
  }
  for (const { record, revision } of changes) {
    if (!known.has(record.id)) findings.push(`nobody asked for the change of revision ${revision}`);
  }
  return findings;
}

/** A version of a key: what it says, and when it was asked for. */
interface Version {
  readonly version: number;
  readonly value: unknown;
  readonly isDeleted: boolean;
  /** No read that ended before may show it. */
  readonly began: number;
}

/**
 * Each key is a register whose versions tell the order of its writes: no read shows less than what was acknowledged, or
 * read by anybody, before it began, nor what was asked for only after it; and no write is put before what ended before it
 * began.
 */
export function checkReads(
  rows: ServiceRows,
  { reads, writes }: Pick<ServiceWorkload, 'reads' | 'writes'>,
): readonly string[] {
  const findings: string[] = [];
  const versions = versionsOf(rows, writes);
  const acknowledged = writes.flatMap(({ done, began, ended }) =>
    [...(done?.versions ?? [])].map(([key, version]) => ({ key, version, began, ended })),
  );
  const seen = reads.flatMap(({ key, held, began, ended }) =>
    held === null ? [] : [{ key, version: held.version, began, ended }],
  );
  const floors = floorsOf([...acknowledged, ...seen]);
  for (const { key, version, began } of acknowledged) {
    const floor = floors(key, began);
    if (version <= floor) findings.push(`${key} was written as ${version}, after ${floor} was known`);
  }
  for (const read of reads) {
    const floor = floors(read.key, read.began);
    const fault = faultOf(read, versions.get(read.key) ?? [], floor);
    if (fault !== null) findings.push(`${read.member} ${read.key}: ${fault}`);
  }
  return findings;
}

function faultOf({ held, ended }: ServiceRead, versions: readonly Version[], floor: number): string | null {
  if (held === null) {
    const isPossible =
      floor === 0 ||
      versions.some(({ version, isDeleted, began }) => isDeleted && version >= floor && began < ended);
    return isPossible ? null : `nothing was there, and version ${floor} was`;
  }
  if (held.version < floor) return `version ${held.version} was read, and ${floor} was known`;
  const found = versions[held.version - 1];
  if (found === undefined || found.isDeleted || found.value !== held.value) {
    return `version ${held.version} was read as ${JSON.stringify(held.value)}`;
  }
  return found.began < ended ? null : `version ${held.version} was read before it was asked for`;
}

function versionsOf(
  { changes, byKey }: ServiceRows,
  writes: readonly ServiceWrite[],
): ReadonlyMap<string, readonly Version[]> {
  const began = new Map(
    writes.map((write) => [idOf(['change', write.user, 'bulk', write.idempotencyKey]), write.began]),
  );
  const versions = new Map<string, Version[]>();
  for (const { record } of changes) {
    for (const item of record.items) {
      if (item.kind !== 'configuration') continue;
      const row = byKey.get(versionKey(item.id, item.after).toString());
      if (row === undefined) continue;
      const list = versions.get(item.key) ?? [];
      versions.set(item.key, list);
      list.push(shownVersion(decodeVersion(row.value), began.get(record.id) ?? 0));
    }
  }
  return versions;
}

function shownVersion({ version, value, isDeleted }: ConfigurationVersion, began: number): Version {
  return { version, value: value.type === 'secret' ? null : value.json, isDeleted, began };
}

/** The highest version of a key that was known to somebody before an instant. */
function floorsOf(
  known: readonly { readonly key: string; readonly version: number; readonly ended: number }[],
): (key: string, instant: number) => number {
  const steps = new Map<string, { readonly ended: number; readonly version: number }[]>();
  for (const { key, version, ended } of known.toSorted((left, right) => left.ended - right.ended)) {
    const list = steps.get(key) ?? [];
    steps.set(key, list);
    list.push({ ended, version: Math.max(version, list.at(-1)?.version ?? 0) });
  }
  return (key, instant) => steps.get(key)?.findLast(({ ended }) => ended < instant)?.version ?? 0;
}

/** Every subscriber was told every change after its begin, in order, each once. */
export function checkSubscriber(
  { changes, byKey }: ServiceRows,
  { subscriber, begun }: { readonly subscriber: ServiceSubscriber; readonly begun: number },
): readonly string[] {
  const expected = changes
    .filter(({ revision }) => revision > begun)
    .flatMap(({ record, revision }) => updatesOf({ record, revision }, byKey));
  const findings = [...subscriber.violations];
  const told = inOrder(subscriber.told);
  for (let at = 0; at < Math.max(expected.length, told.length); at += 1) {
    const [is, was] = [JSON.stringify(told[at]), JSON.stringify(inOrder(expected)[at])];
    if (is === was) continue;
    findings.push(`told ${is} in the place of ${was}`);
    break;
  }
  return findings;
}

function updatesOf({ record, revision }: Recorded, byKey: ServiceRows['byKey']): readonly Told[] {
  return record.items.flatMap((item) => {
    if (item.kind !== 'configuration') return [];
    const { value, isDeleted } = decodeVersion(byKey.get(versionKey(item.id, item.after).toString())!.value);
    const text = isDeleted || value.type === 'secret' ? '' : value.json;
    if (typeof text !== 'string') throw new Error('the workload writes texts');
    return [{ revision, key: item.key, value: text }];
  });
}

/** Of one revision in the order of the keys, which is not promised. */
function inOrder(told: readonly Told[]): readonly Told[] {
  return told
    .map((item, at) => ({ item, at }))
    .toSorted((left, right) => {
      if (left.item.revision !== right.item.revision) return left.at - right.at;
      return left.item.key < right.item.key ? -1 : 1;
    })
    .map(({ item }) => item);
}

/** Waits until everything is sealed, and checks the chain. */
export async function checkAudit(endpoints: readonly string[]): Promise<readonly string[]> {
  const kv = new EtcdKv({ endpoints });
  try {
    const report = await eventually('the seal of every change', async () => {
      const found = await verifyAudit(kv, { signal: AbortSignal.timeout(60_000) });
      return found.unsealed === 0 && found;
    });
    return report.findings.map((finding) => JSON.stringify(finding));
  } finally {
    await kv.close();
  }
}
