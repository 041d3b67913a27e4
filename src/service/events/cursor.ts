import { invalid } from '../service-error.ts';

/**
 * How far somebody is: everything up to a revision, and the first events of the next one, which are in the same order
 * whoever tells them.
 */
export interface Cursor {
  readonly after: number;
  /** Events of the revision behind `after`. */
  readonly taken: number;
}

const CURSOR = /^(\d{1,16})(?:-(\d{1,16}))?$/;

/** `123` = all of revision 123; `123-4` = the first four events of it, and everything before. */
export function cursorText({ after, taken }: Cursor): string {
  return taken === 0 ? String(after) : `${after + 1}-${taken}`;
}

/** @throws ServiceError `invalid`, which names `field` */
export function parseCursor(text: string, field = 'revision'): Cursor {
  const [, revision = '', taken] = CURSOR.exec(text) ?? [];
  const cursor =
    taken === undefined
      ? { after: Number(revision), taken: 0 }
      : { after: Number(revision) - 1, taken: Number(taken) };
  const isOne = revision !== '' && cursor.after >= 0 && Number.isSafeInteger(Number(revision));
  if (isOne && Number.isSafeInteger(cursor.taken)) return cursor;
  throw invalid({ field, message: 'must be a revision, or the cursor of an event' });
}
