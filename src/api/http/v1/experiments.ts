import type { FastifyInstance } from 'fastify';
import { environmentId } from '../../../service/environments/spelling.ts';
import { experimentText } from '../../../service/flags/experiment-lines.ts';
import type { Exposure } from '../../../service/flags/exposures.ts';
import type { RestContext } from '../rest/context.ts';
import { sendRead, sendWritten } from '../rest/exchange.ts';
import { READ_PROBLEMS } from '../rest/problem-schema.ts';
import { LINES_TYPE } from '../rest/progress-lines.ts';
import { described, FLAG, list, type Operation, operation, strictObject, TEXT } from '../rest/schema.ts';
import { ENVIRONMENT_ID } from './schemas.ts';

interface ReportQuery {
  readonly environment: string;
  readonly flag?: string;
  readonly control?: string;
  readonly format?: 'json-lines' | 'csv';
}
interface ExposuresBody {
  readonly application: string;
  readonly environment: string;
  readonly exposures: readonly (Omit<Exposure, 'converted'> & { readonly converted?: boolean })[];
}

const PATH = '/api/v1/feature-flags/:service_name/experiments';

/** Which variant does better: to be told by clients, and to be read. */
export function experiments(api: FastifyInstance, { service }: RestContext): void {
  api.get<{ Params: { service_name: string }; Querystring: ReportQuery }>(
    PATH,
    { schema: operation(REPORT) },
    async (request, reply) => {
      const { environment, format = 'json-lines', flag, control } = request.query;
      const application = request.params.service_name;
      const scope = { tenant: request.tenant, environment: environmentId(environment), application };
      const lines = await service.experiments.report(request.caller, { scope, flag, control });
      const mediaType = format === 'csv' ? 'text/csv; charset=utf-8' : LINES_TYPE;
      if (format === 'csv') reply.header('content-disposition', 'attachment; filename="experiments.csv"');
      const body = experimentText(lines, format);
      return sendRead(request, reply, { revision: 0, mediaType, body: () => body });
    },
  );

  api.delete<{ Params: { service_name: string }; Querystring: { environment: string; flag: string } }>(
    PATH,
    { schema: operation(RESET) },
    async (request, reply) => {
      const { environment, flag } = request.query;
      const application = request.params.service_name;
      const scope = { tenant: request.tenant, environment: environmentId(environment), application };
      await service.experiments.reset(request.caller, { scope, flag });
      return sendWritten(reply, { revision: 0 });
    },
  );

  api.post<{ Body: ExposuresBody }>(
    '/api/v1/flags/exposures',
    { schema: operation(ADD) },
    async (request, reply) => {
      const { application, environment, exposures } = request.body;
      await service.experiments.add(request.caller, {
        scope: { tenant: request.tenant, environment: environmentId(environment), application },
        exposures: exposures.map(({ converted = false, ...exposure }) => ({ ...exposure, converted })),
      });
      return sendWritten(reply, { revision: 0 });
    },
  );
}

const SERVICE_NAME = described(TEXT, 'The application whose flags they are');

const REPORT: Operation = {
  operationId: 'flagExperiments',
  summary: 'How the variants of flags do: exposures, conversions, and whether the difference is chance',
  tag: 'Flags',
  kind: 'call',
  params: { service_name: SERVICE_NAME },
  query: {
    environment: ENVIRONMENT_ID,
    flag: described(TEXT, 'Default: all that have exposures'),
    control: described(TEXT, "The variant that others are compared with; default: the flag's off variant"),
    format: { type: 'string', enum: ['json-lines', 'csv'], default: 'json-lines' },
  },
  required: ['environment'],
  answerTypes: [LINES_TYPE, 'text/csv'],
  answers: { 200: { description: 'A line for each variant', schema: TEXT }, ...READ_PROBLEMS },
};
const RESET: Operation = {
  operationId: 'resetFlagExperiment',
  summary: 'Begin the experiment of a flag anew',
  tag: 'Flags',
  kind: 'call',
  params: { service_name: SERVICE_NAME },
  query: { environment: ENVIRONMENT_ID, flag: TEXT },
  required: ['environment', 'flag'],
  answers: { 204: { description: 'Nothing is known of it any more', schema: null }, ...READ_PROBLEMS },
};
const ADD: Operation = {
  operationId: 'addFlagExposures',
  summary: 'Tell who got which variant, and who did what was hoped for; what is told twice counts once',
  tag: 'Flags',
  kind: 'call',
  body: strictObject(
    {
      application: TEXT,
      environment: ENVIRONMENT_ID,
      exposures: list(
        strictObject(
          {
            flag: TEXT,
            variant: TEXT,
            targetingKey: described(TEXT, 'Is not kept'),
            converted: described(FLAG, 'Whether they did what was hoped for; later, too'),
          },
          ['flag', 'variant', 'targetingKey'],
        ),
      ),
    },
    ['application', 'environment', 'exposures'],
  ),
  answers: { 204: { description: 'They are counted', schema: null }, ...READ_PROBLEMS },
};
