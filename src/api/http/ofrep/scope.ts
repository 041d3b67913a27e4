import type { FastifyRequest } from 'fastify';
import type { Scope } from '../../../service/model.ts';
import { type SaidScope, SCOPE_HEADER, scopeOf } from '../../flag-scope.ts';
import { headerText } from '../rest/identity.ts';

/** What a request of OFREP may say in its query. */
export interface OfrepQuery extends Pick<SaidScope, 'application' | 'environment' | 'tenant'> {
  /** Of the event that made a client ask again. */
  readonly flagConfigEtag?: string;
}

/**
 * Whose flags are meant: by the query, by headers, or by the path, so that a provider's base URL can say it.
 *
 * @throws ServiceError `invalid`
 */
export function ofrepScope(request: FastifyRequest, defaultEnvironment: string): Scope {
  const path = request.params as SaidScope;
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return value === undefined ? undefined : headerText(value);
  };
  const headers = {
    application: header(SCOPE_HEADER.application),
    environment: header(SCOPE_HEADER.environment),
  };
  return scopeOf([request.query as SaidScope, headers, path], {
    tenant: request.tenant,
    environment: defaultEnvironment,
    how: 'as query parameter, as X-Conclave-Application or in the path /flags/{application}/{environment}/ofrep',
  });
}
