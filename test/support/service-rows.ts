import type { KvRow } from '../../src/kv/kv.ts';
import { HEAD_KEY, PREFIXES, plainKey, versionKey } from '../../src/service/keyspace.ts';
import type { ChangeRecord } from '../../src/service/model.ts';
import { decodeChange, decodeConfiguration, valueBytes } from '../../src/service/rows.ts';

type Row = Pick<KvRow, 'key' | 'value' | 'createRevision' | 'modRevision'>;

/** A change as it stands in the store. */
export interface Recorded {
  readonly record: ChangeRecord;
  readonly revision: number;
}

/** Everything of the service in a store, at one revision. */
export interface ServiceRows {
  /** Oldest first. */
  readonly changes: readonly Recorded[];
  readonly byKey: ReadonlyMap<string, Row>;
}

export function serviceRows(rows: readonly Row[]): ServiceRows {
  const changes = rows
    .filter(({ key }) => key.toString().startsWith(PREFIXES.change))
    .map(({ value, modRevision }) => ({ record: decodeChange(value), revision: modRevision }))
    .sort((left, right) => left.revision - right.revision);
  return { changes, byKey: new Map(rows.map((row) => [row.key.toString(), row])) };
}

/**
 * No change without its record, no record without its change, and everything that a change puts as it put it: what is
 * wrong, in words. Values are small, and no version was swept away.
 */
export function checkServiceRows({ changes, byKey }: ServiceRows): readonly string[] {
  const findings: string[] = [];
  const expect: Expect = (holds, what) => {
    if (!holds) findings.push(what);
  };
  const told = new Map<string, number>();
  for (const { record, revision } of changes) {
    const own = byKey.get(`${PREFIXES.change}${record.id}`)!;
    expect(own.createRevision === revision, `the record of revision ${revision} was put twice`);
    for (const item of record.items) {
      if (item.kind !== 'configuration' || item.type === 'revealed') continue;
      const key = versionKey(item.id, item.after).toString();
      expect(!told.has(key), `${key} stands in two records`);
      told.set(key, revision);
      expect(item.after === item.before + 1, `${key} does not follow ${item.before}`);
    }
  }
  for (const [key, row] of byKey) {
    if (key.startsWith(PREFIXES.version)) {
      expect(
        told.get(key) === row.modRevision,
        `${key} of ${row.modRevision} has no record of that revision`,
      );
      told.delete(key);
    } else if (key.startsWith(PREFIXES.configuration)) checkConfiguration(row, byKey, expect);
  }
  for (const [key, revision] of told)
    findings.push(`the record of ${revision} tells of ${key}, which is not there`);
  const newest = changes.at(-1);
  const head = byKey.get(HEAD_KEY.toString());
  expect(head?.modRevision === newest?.revision, `the head is of ${head?.modRevision}`);
  expect(head?.value.toString() === newest?.record.id, 'the head names another change');
  return findings;
}

type Expect = (holds: boolean, what: string) => void;

function checkConfiguration(row: Row, byKey: ServiceRows['byKey'], expect: Expect): void {
  const decoded = decodeConfiguration(row.value);
  if (!decoded.isWhole) throw new Error('a large value');
  const { configuration } = decoded;
  const { id, version, isDeleted, value } = configuration;
  const at = `${configuration.key} version ${version}`;
  for (let number = 1; number <= version; number += 1) {
    expect(byKey.has(versionKey(id, number).toString()), `${at}: version ${number} is missing`);
  }
  expect(!byKey.has(versionKey(id, version + 1).toString()), `${at} is not the newest`);
  const present = byKey.get(versionKey(id, version).toString());
  expect(present?.modRevision === row.modRevision, `${at}: its row is of ${row.modRevision}`);
  const plain = byKey.get(plainKey(configuration).toString());
  if (isDeleted) {
    expect(plain === undefined, `${at} is deleted, and its plain value is there`);
    return;
  }
  expect(plain?.modRevision === row.modRevision, `${at}: its plain value is of ${plain?.modRevision}`);
  expect(plain?.value.equals(valueBytes(value)) === true, `${at}: its plain value is another one`);
}
