import type { Scope } from '../model.ts';
import { checkScope, Problems } from '../names.ts';
import { RowError } from '../rows.ts';

/** An instance by name: there is one of each id in its scope. */
export interface InstanceRef extends Scope {
  readonly id: string;
}

/** A running copy of an application, as it says itself. */
export interface InstanceInfo extends InstanceRef {
  /** Of the program that runs; empty when it does not say. */
  readonly version: string;
  /** Empty when it does not say. */
  readonly region: string;
}

/** An instance and how far it is. */
export interface Instance extends InstanceInfo {
  /** When it registered, in ms: of two with one id the later counts. */
  readonly sinceMs: number;
  /** Everything up to this revision is in use there; 0 = it has not said anything. */
  readonly applied: number;
  /** What it refused to use, if that is later than what it applied. */
  readonly rejected: { readonly revision: number; readonly reason: string } | null;
  /** When it said so last, in ms. */
  readonly reportedMs: number;
}

/** In characters: an id; version and region; a reason. */
export const INSTANCE_ID_MAX = 200;
export const LABEL_MAX = 100;
const REASON_MAX = 1_000;

/** What an instance says of itself when it speaks. */
export interface InstanceReport {
  /** It uses everything up to this revision. */
  readonly applied?: number | undefined;
  /** It does not use what came with this revision, and why. */
  readonly rejected?: { readonly revision: number; readonly reason: string } | undefined;
}

/** @throws ServiceError `invalid`, which names every field that is wrong */
export function checkInstance(instance: InstanceInfo): void {
  const problems = new Problems();
  problems.gather('', () => checkScope(instance));
  if (instance.id.length === 0) problems.add('id', 'must not be empty');
  for (const [field, text, max] of [
    ['id', instance.id, INSTANCE_ID_MAX],
    ['version', instance.version, LABEL_MAX],
    ['region', instance.region, LABEL_MAX],
  ] as const) {
    if (text.length > max) problems.add(field, `is longer than ${max} characters`);
    // oxlint-disable-next-line no-control-regex
    if (/[\u0000-\u001f\u007f]/.test(text)) problems.add(field, 'has control characters');
  }
  problems.check();
}

/** Why something was rejected, cut to 1,000 characters. */
export function shortened(reason: string): string {
  return reason.length <= REASON_MAX ? reason : `${reason.slice(0, REASON_MAX - 1)}…`;
}

/** What tells instances apart. */
export function instanceKey({ tenant, environment, application, id }: InstanceRef): string {
  return `${scopeOf({ tenant, environment, application })}/${id}`;
}

export function scopeOf({ tenant, environment, application }: Scope): string {
  return `${tenant}/${environment}/${application}`;
}

const FORMAT = 1;

type InstanceRow = readonly [
  tenant: string,
  environment: string,
  application: string,
  id: string,
  version: string,
  region: string,
  sinceMs: number,
  applied: number,
  reportedMs: number,
  rejectedRevision: number,
  reason: string,
];

/** Some instances of one server, as a row holds them. */
export function encodeInstances(instances: readonly Instance[]): Buffer {
  const rows = instances.map(
    (each): InstanceRow => [
      each.tenant,
      each.environment,
      each.application,
      each.id,
      each.version,
      each.region,
      each.sinceMs,
      each.applied,
      each.reportedMs,
      each.rejected?.revision ?? 0,
      each.rejected?.reason ?? '',
    ],
  );
  return Buffer.from(JSON.stringify({ format: FORMAT, instances: rows }));
}

/** @throws RowError */
export function decodeInstances(bytes: Buffer): readonly Instance[] {
  const { format, instances } = parse(bytes);
  if (format !== FORMAT || instances === undefined)
    throw new RowError('a row of instances has an unknown format');
  return instances.map(
    ([
      tenant,
      environment,
      application,
      id,
      version,
      region,
      sinceMs,
      applied,
      reportedMs,
      revision,
      reason,
    ]) => ({
      tenant,
      environment,
      application,
      id,
      version,
      region,
      sinceMs,
      applied,
      reportedMs,
      rejected: revision === 0 ? null : { revision, reason },
    }),
  );
}

function parse(bytes: Buffer): { readonly format?: unknown; readonly instances?: readonly InstanceRow[] } {
  try {
    return JSON.parse(bytes.toString()) as ReturnType<typeof parse>;
  } catch (error) {
    throw new RowError('a row of instances is not JSON', { cause: error });
  }
}
