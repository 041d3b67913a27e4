import { csvLine, csvText } from '../formats/csv.ts';
import type { ShownValue } from '../views.ts';
import type { AuditEntry, AuditItem } from './audit-view.ts';

/** `jsonl`: one JSON object a line for each change. `csv`: RFC 4180, one line for each thing that was changed. */
export const AUDIT_FORMATS = ['jsonl', 'csv'] as const;
export type AuditFormat = (typeof AUDIT_FORMATS)[number];

const COLUMNS = [
  'revision',
  'change_id',
  'at',
  'actor',
  'authenticated',
  'claimed',
  'address',
  'agent',
  'operation',
  'reason',
  'change_set',
  'kind',
  'type',
  'environment',
  'application',
  'key',
  'version_before',
  'version_after',
  'old_value',
  'new_value',
  'fields',
] as const;

/**
 * The entries as text, a piece for each; CSV begins with the names of its columns.
 *
 * @param shape what a line of JSON shows of an entry
 */
export async function* auditLines(
  entries: AsyncIterable<AuditEntry>,
  { format, shape }: { readonly format: AuditFormat; readonly shape: (entry: AuditEntry) => unknown },
): AsyncGenerator<string> {
  if (format === 'csv') yield csvLine(COLUMNS);
  for await (const entry of entries) {
    if (format === 'jsonl') yield `${JSON.stringify(shape(entry))}\n`;
    else yield entry.items.map((item) => csvLine(cellsOf(entry, item))).join('');
  }
}

function cellsOf(entry: AuditEntry, item: AuditItem): readonly string[] {
  const { actor } = entry;
  return [
    String(entry.revision),
    entry.id,
    entry.at,
    csvText(actor.name),
    String(actor.isAuthenticated),
    csvText(actor.claimed),
    csvText(actor.address),
    csvText(actor.agent),
    entry.operation,
    csvText(entry.reason),
    csvText(entry.changeSet),
    item.kind,
    item.type,
    csvText(item.environment),
    csvText(item.application),
    csvText(item.key),
    String(item.versionBefore),
    String(item.versionAfter),
    json(item.oldValue),
    json(item.newValue),
    item.fields.length === 0 ? '' : JSON.stringify(item.fields),
  ];
}

/** The JSON of a value; empty where there was none. */
function json(value: ShownValue | null): string {
  return value === null ? '' : JSON.stringify(value.json);
}
