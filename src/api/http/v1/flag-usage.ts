import type { FastifyInstance } from 'fastify';
import { environmentId } from '../../../service/environments/spelling.ts';
import { type UsageFormat, type UsageRequest, usageText } from '../../../service/flags/usage-reports.ts';
import type { UsageCount } from '../../../service/flags/usage-rows.ts';
import type { RestContext } from '../rest/context.ts';
import { sendRead, sendWritten } from '../rest/exchange.ts';
import { READ_PROBLEMS } from '../rest/problem-schema.ts';
import { LINES_TYPE } from '../rest/progress-lines.ts';
import {
  described,
  list,
  NUMBER_FROM_1,
  nullable,
  type Operation,
  operation,
  strictObject,
  TEXT,
} from '../rest/schema.ts';
import { ENVIRONMENT_ID } from './schemas.ts';

interface UsageQuery extends Omit<UsageRequest, 'scope'> {
  readonly environment: string;
  readonly format?: UsageFormat;
}
interface CountsBody {
  readonly application: string;
  readonly environment: string;
  readonly counts: readonly (Omit<UsageCount, 'variant' | 'service'> & {
    readonly variant?: string | null;
    readonly service?: string | null;
  })[];
}

/** How often flags answered what: to be read, and to be told by clients that evaluate themselves. */
export function flagUsage(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Params: { service_name: string }; Querystring: UsageQuery }>(
    '/api/v1/feature-flags/:service_name/evaluations',
    { schema: operation(REPORT) },
    async (request, reply) => {
      const { environment, format = 'json-lines', flag, service: by, from, to } = request.query;
      const application = request.params.service_name;
      const scope = { tenant: request.tenant, environment: environmentId(environment), application };
      const lines = await service.usageReports.report(request.caller, { scope, flag, service: by, from, to });
      const mediaType = format === 'csv' ? 'text/csv; charset=utf-8' : LINES_TYPE;
      if (format === 'csv') reply.header('content-disposition', 'attachment; filename="evaluations.csv"');
      const body = usageText(lines, format);
      return sendRead(request, reply, { revision: 0, mediaType, body: () => body });
    },
  );

  api.post<{ Body: CountsBody }>(
    '/api/v1/flags/evaluations',
    { schema: operation(ADD) },
    async (request, reply) => {
      const { application, environment, counts } = request.body;
      await service.usageReports.add(request.caller, {
        scope: { tenant: request.tenant, environment: environmentId(environment), application },
        counts: counts.map(({ flag, reason, count, variant = null, service: by = null }) => ({
          flag,
          reason,
          count,
          variant,
          service: by,
        })),
      });
      return sendWritten(reply, { revision: 0 });
    },
  );
}

const REPORT: Operation = {
  operationId: 'flagEvaluations',
  summary: 'How often flags answered what, by hour, variant, reason and service',
  tag: 'Flags',
  kind: 'call',
  params: { service_name: described(TEXT, 'The application whose flags they are') },
  query: {
    environment: ENVIRONMENT_ID,
    flag: TEXT,
    service: described(TEXT, 'Who evaluated, as the context said'),
    from: described(TEXT, 'A time; default: 24 hours ago'),
    to: described(TEXT, 'A time; default: now'),
    format: { type: 'string', enum: ['json-lines', 'csv'], default: 'json-lines' },
  },
  required: ['environment'],
  answerTypes: [LINES_TYPE, 'text/csv'],
  answers: { 200: { description: 'A line for each count', schema: TEXT }, ...READ_PROBLEMS },
};
const ADD: Operation = {
  operationId: 'addFlagEvaluations',
  summary: 'Tell how often flags answered what where a client evaluates itself',
  tag: 'Flags',
  kind: 'call',
  body: strictObject(
    {
      application: TEXT,
      environment: ENVIRONMENT_ID,
      counts: list(
        strictObject(
          {
            flag: TEXT,
            variant: nullable(TEXT),
            reason: TEXT,
            service: nullable(TEXT),
            count: NUMBER_FROM_1,
          },
          ['flag', 'reason', 'count'],
        ),
      ),
    },
    ['application', 'environment', 'counts'],
  ),
  answers: { 204: { description: 'They are counted', schema: null }, ...READ_PROBLEMS },
};
