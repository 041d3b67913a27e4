import type { IncomingHttpHeaders } from 'node:http';

/** What is wrong with one field of a request. */
export interface ProblemField {
  readonly field: string;
  readonly message: string;
}

/** An answer of the HTTP face that says what went wrong, as `application/problem+json` (RFC 9457) has it. */
export class ProblemError extends Error {
  override readonly name = 'ProblemError';
  readonly status: number;
  /** The kind of problem in the service's words, like `not-found`; empty when the answer does not say. */
  readonly code: string;
  readonly fields: readonly ProblemField[];
  /** Whether a change may have been made all the same. */
  readonly isAmbiguous: boolean;
  /** The answer's body as JSON, for what else it says; null when it is none. */
  readonly body: Readonly<Record<string, unknown>> | null;

  constructor(
    message: string,
    more: Pick<ProblemError, 'status' | 'code' | 'fields'> & { readonly body?: ProblemError['body'] },
  ) {
    super(message);
    this.status = more.status;
    this.code = more.code;
    this.fields = more.fields;
    this.isAmbiguous = more.body?.['retryable'] === 'ambiguous';
    this.body = more.body ?? null;
  }
}

/** The problem that an answer tells, in whatever form. */
export function problemOf(status: number, headers: IncomingHttpHeaders, body: Buffer): ProblemError {
  return problemIn(status, /\bjson\b/.test(headers['content-type'] ?? '') ? objectOf(body) : null);
}

/** The same, of an answer that was read already; null = it was no JSON. */
export function problemIn(status: number, json: Readonly<Record<string, unknown>> | null): ProblemError {
  if (json === null)
    return new ProblemError(`the server answered ${status}`, { status, code: '', fields: [] });
  const message =
    textOf(json['detail']) ??
    textOf(json['message']) ??
    textOf(json['title']) ??
    `the server answered ${status}`;
  const code = textOf(json['code']) ?? textOf(json['type'])?.replace(/^.*[/:]/, '') ?? '';
  return new ProblemError(message, { status, code, fields: fieldsOf(json['errors']), body: json });
}

function fieldsOf(errors: unknown): readonly ProblemField[] {
  if (!Array.isArray(errors)) return [];
  return errors.flatMap((error: unknown) => {
    if (typeof error === 'string') return [{ field: '', message: error }];
    if (typeof error !== 'object' || error === null) return [];
    const { field, message } = error as Readonly<Record<string, unknown>>;
    return [{ field: textOf(field) ?? '', message: textOf(message) ?? '' }];
  });
}

function objectOf(body: Buffer): Readonly<Record<string, unknown>> | null {
  try {
    const json: unknown = JSON.parse(body.toString());
    return typeof json === 'object' && json !== null && !Array.isArray(json)
      ? (json as Readonly<Record<string, unknown>>)
      : null;
  } catch {
    return null;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
