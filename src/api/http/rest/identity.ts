import type { FastifyRequest } from 'fastify';
import { invalid } from '../../../service/service-error.ts';
import type { Shown } from '../../identity.ts';

/** How the caller names itself while the store does not want to know who asks. */
const USER_HEADER = 'x-conclave-user';
/** Takes a token as `Authorization: Bearer` does: providers of flags know both. */
const API_KEY_HEADER = 'x-api-key';

/** What a request shows of who makes it. @throws ServiceError `invalid` */
export function shownBy({ headers, raw }: Pick<FastifyRequest, 'headers' | 'raw'>): Shown {
  const { [USER_HEADER]: user, [API_KEY_HEADER]: apiKey } = headers;
  return {
    authorization: headers.authorization ?? (typeof apiKey === 'string' ? `Bearer ${apiKey}` : undefined),
    user: user === undefined ? undefined : headerText(user),
    address: raw.socket.remoteAddress ?? '',
    agent: headers['user-agent'],
  };
}

/** Bytes of a header come one a character; as a rule they are UTF-8. @throws ServiceError `invalid` for several */
export function headerText(header: string | readonly string[]): string {
  if (typeof header !== 'string') throw invalid({ field: 'headers', message: 'one of them is there twice' });
  const bytes = Buffer.from(header, 'latin1');
  const text = bytes.toString();
  return text.includes('\ufffd') ? header : text;
}
