import { list, named, object, refTo, type Schema, TEXT } from './schema.ts';

/** A failure as RFC 9457 has it, with the fields that are wrong. */
export const PROBLEM = named(
  'Problem',
  object({
    type: TEXT,
    title: TEXT,
    status: { type: 'integer' },
    detail: TEXT,
    code: TEXT,
    retryable: { type: 'string', enum: ['never', 'safe', 'ambiguous'] },
    errors: list(object({ field: TEXT, message: TEXT })),
  }),
);

type Answers = Readonly<Record<number, { readonly description: string; readonly schema: Schema }>>;

/** What every read may be answered with. */
export const READ_PROBLEMS: Answers = {
  400: { description: 'The request is wrong', schema: refTo(PROBLEM) },
  401: { description: 'Authentication required', schema: refTo(PROBLEM) },
  403: { description: 'Not permitted', schema: refTo(PROBLEM) },
  404: { description: 'There is no such thing', schema: refTo(PROBLEM) },
  503: { description: 'The store does not answer', schema: refTo(PROBLEM) },
};

/** What every change may be answered with. */
export const CHANGE_PROBLEMS: Answers = {
  ...READ_PROBLEMS,
  409: { description: 'The present state does not allow it', schema: refTo(PROBLEM) },
  422: { description: 'The idempotency key was used for another request', schema: refTo(PROBLEM) },
  504: { description: 'Whether it was done is not known', schema: refTo(PROBLEM) },
};
