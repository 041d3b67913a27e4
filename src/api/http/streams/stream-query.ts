import type { FastifyRequest } from 'fastify';
import { environmentId } from '../../../service/environments/spelling.ts';
import { type Cursor, parseCursor } from '../../../service/events/cursor.ts';
import type { EventFilter } from '../../../service/events/event-filter.ts';
import { invalid } from '../../../service/service-error.ts';
import { headerText } from '../rest/identity.ts';
import { described, type Properties, TEXT } from '../rest/schema.ts';
import type { StreamRequest } from './live-stream.ts';

/** What a stream may be asked for. */
export interface StreamQuery {
  readonly keys?: string;
  readonly keyPrefix?: string;
  readonly revision?: string;
  readonly instance?: string;
  readonly instanceVersion?: string;
  readonly instanceRegion?: string;
}

/** The same for the document, and for checks. */
export const STREAM_QUERY: Properties = {
  keys: described(TEXT, 'Only these keys, with commas between them'),
  keyPrefix: described(TEXT, 'Only keys that begin so'),
  revision: described(
    TEXT,
    'Go on behind this revision, or behind the event with this cursor; else what comes from now on is told',
  ),
  instance: described(
    TEXT,
    'Registers an instance of the application, by this id, for as long as the stream is open',
  ),
  instanceVersion: described(TEXT, 'Of the program that the instance runs'),
  instanceRegion: described(TEXT, 'Where the instance runs'),
};

/** The service's names of fields in those of the query. */
export const STREAM_FIELDS: Readonly<Record<string, string>> = {
  id: 'instance',
  version: 'instanceVersion',
  region: 'instanceRegion',
};

/** @throws ServiceError `invalid` */
export function streamRequestOf(
  { headers }: FastifyRequest,
  query: StreamQuery,
  place: Pick<EventFilter, 'tenant' | 'environment' | 'application'>,
): StreamRequest {
  const { keyPrefix } = query;
  const keys = query.keys?.split(',');
  const { 'last-event-id': last } = headers;
  return {
    filter: { ...place, keys, keyPrefix },
    cursor: cursorOf(query.revision, last === undefined ? undefined : headerText(last)),
    instance: instanceOf(query, place),
  };
}

/** A client that was cut off comes back to the same address, and says how far it is besides. */
function cursorOf(revision: string | undefined, last: string | undefined): Cursor | undefined {
  if (last !== undefined && last !== '') return parseCursor(last, 'Last-Event-ID');
  return revision === undefined ? undefined : parseCursor(revision);
}

function instanceOf(
  { instance: id, instanceVersion: version = '', instanceRegion: region = '' }: StreamQuery,
  { tenant, environment, application }: Pick<EventFilter, 'tenant' | 'environment' | 'application'>,
): StreamRequest['instance'] {
  if (id === undefined) return null;
  if (environment === undefined || application === undefined) {
    throw invalid({ field: 'instance', message: 'goes with an environment and an application' });
  }
  return { tenant, environment, application, id, version, region };
}

/** Of a stream over all of them undefined. @throws ServiceError `invalid` */
export function environmentIn(spelling: string | undefined): string | undefined {
  return spelling === undefined ? undefined : environmentId(spelling);
}
