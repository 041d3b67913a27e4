import type { FastifyInstance } from 'fastify';
import type { ImportedItem } from '../../../service/configurations/text-import.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import { SET_FORMATS, type SetFormat } from '../../../service/formats/set-format.ts';
import type { Shape } from '../../../service/formats/tree.ts';
import { invalid } from '../../../service/service-error.ts';
import { takeText } from '../rest/bodies.ts';
import type { RestContext } from '../rest/context.ts';
import { changeOptions, type ReadQuery, readOptions, sendRead, sendWritten } from '../rest/exchange.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS } from '../rest/problem-schema.ts';
import { problemOf } from '../rest/problems.ts';
import { ProgressLines } from '../rest/progress-lines.ts';
import {
  ANY,
  COUNT,
  described,
  FLAG,
  list,
  type Operation,
  object,
  operation,
  refTo,
  TEXT,
  TEXTS,
} from '../rest/schema.ts';
import { DIFF, DRY_RUN, ENVIRONMENT_ID, FINDING, SIDE } from './schemas.ts';
import { diffOf, findingsOf, sideOf } from './views.ts';

interface ScopeQuery {
  readonly application: string;
  readonly environment: string;
  readonly shape?: Shape;
}
interface ImportQuery extends ScopeQuery {
  readonly format?: SetFormat;
  readonly dryRun?: boolean;
  readonly deleteMissing?: boolean;
  /** Keys, with commas between them. */
  readonly secretKeys?: string;
}
interface ExportQuery extends ScopeQuery, ReadQuery {
  readonly format: SetFormat;
  readonly inherited?: boolean;
  readonly reveal?: boolean;
}

const MEDIA_TYPES: Readonly<Record<SetFormat, string>> = {
  json: 'application/json; charset=utf-8',
  yaml: 'application/yaml; charset=utf-8',
  dotenv: 'text/plain; charset=utf-8',
  properties: 'text/x-java-properties; charset=utf-8',
};

/** What the types of bodies say of their format; of others the query must. */
const FORMATS: Readonly<Record<string, SetFormat | null>> = {
  'application/json': 'json',
  'application/yaml': 'yaml',
  'application/x-yaml': 'yaml',
  'text/yaml': 'yaml',
  'text/x-java-properties': 'properties',
  'text/plain': null,
};

/** Texts of values, in and out. */
export async function importExport(api: FastifyInstance, context: RestContext): Promise<void> {
  const { service, limits } = context;
  api.get<{ Querystring: ExportQuery }>(
    '/api/v1/export',
    { schema: operation(EXPORT) },
    async (request, reply) => {
      const { application, environment, format, shape, inherited, reveal } = request.query;
      const scope = { tenant: request.tenant, environment: environmentId(environment), application };
      const wanted = { scope, format, shape, inherited, reveal, ...readOptions(request.query) };
      const { revision, result } = await service.textExport.export(request.caller, wanted);
      const form = [
        format,
        shape ?? 'flat',
        inherited === true ? 'all' : 'own',
        reveal === true ? 'revealed' : '',
      ];
      return sendRead(request, reply, {
        revision,
        etag: [result.etag, ...form].filter((part) => part !== '').join('-'),
        mediaType: MEDIA_TYPES[format],
        isSecret: reveal === true,
        body: () => result.text,
      });
    },
  );

  await api.register(async (texts) => {
    takeText(texts, Object.keys(FORMATS));
    texts.post<{ Querystring: ImportQuery; Body: string | null }>(
      '/api/v1/import',
      { schema: operation(IMPORT), bodyLimit: limits.importBytesMax },
      async (request, reply) => {
        const { application, environment, shape, dryRun, deleteMissing, secretKeys } = request.query;
        const format = request.query.format ?? formatOf(request.headers['content-type']);
        const lines = new ProgressLines(request, reply);
        const wanted = {
          scope: { tenant: request.tenant, environment: environmentId(environment), application },
          format,
          text: request.body ?? '',
          shape,
          dryRun,
          deleteMissing,
          secretKeys: secretKeys?.split(',').map((key) => key.trim()),
          ...changeOptions(request),
          onProgress: (done: number, total: number) => lines.told(done, total),
        };
        try {
          const { revision, items, findings, ...counts } = await service.textImport.import(
            request.caller,
            wanted,
          );
          const body = { revision, ...counts, items: items.map(itemOf), warnings: findingsOf(findings) };
          if (lines.isBegun) lines.end(body);
          else sendWritten(reply, { revision, body });
        } catch (error) {
          if (!lines.isBegun) throw error;
          lines.end({ problem: problemOf(error) });
        }
        return reply;
      },
    );
  });
}

function formatOf(contentType: string | undefined): SetFormat {
  const [type = ''] = (contentType ?? '').toLowerCase().split(';', 1);
  const format = FORMATS[type.trim()] ?? null;
  if (format === null)
    throw invalid({ field: 'format', message: `must be one of ${SET_FORMATS.join(', ')}` });
  return format;
}

function itemOf({ key, type, before, after, diff }: ImportedItem) {
  return { key, type, before: sideOf(before), after: sideOf(after), diff: diffOf(diff) };
}

const TAG = 'Import and export';
const FORMAT = { type: 'string', enum: SET_FORMATS };
const SCOPE = { application: TEXT, environment: ENVIRONMENT_ID };
const SHAPE = described(
  { type: 'string', enum: ['flat', 'nested'], default: 'flat' },
  'Of JSON and YAML: keys as they are, or objects in objects at their dots',
);

const EXPORT: Operation = {
  operationId: 'exportConfigurations',
  summary: 'The values of an application as one text',
  tag: TAG,
  kind: 'read',
  query: {
    ...SCOPE,
    format: FORMAT,
    shape: SHAPE,
    inherited: described({ ...FLAG, default: false }, 'Also what the environment inherits, and defaults'),
    reveal: described({ ...FLAG, default: false }, 'Secrets themselves, which is recorded; else their mask'),
  },
  required: ['application', 'environment', 'format'],
  answers: { 200: { description: 'The values', schema: ANY }, ...READ_PROBLEMS },
  answerTypes: Object.values(MEDIA_TYPES).map((type) => type.split(';', 1)[0]!),
};

const IMPORT: Operation = {
  operationId: 'importConfigurations',
  summary:
    'Take the values of an application from a text; what is there already is left alone. With Accept: application/x-ndjson it tells how far it is, line by line',
  tag: TAG,
  kind: 'change',
  query: {
    ...SCOPE,
    format: described(FORMAT, 'Else that of the type of the body'),
    shape: SHAPE,
    dryRun: DRY_RUN,
    deleteMissing: described({ ...FLAG, default: false }, 'Also delete what the text does not have'),
    secretKeys: described(TEXT, 'Keys whose values are secrets, with commas between them'),
  },
  required: ['application', 'environment'],
  bodyTypes: Object.keys(FORMATS),
  answers: {
    200: {
      description: 'What was changed, or would be',
      schema: object({
        revision: COUNT,
        changeIds: described(TEXTS, 'One for each 40 configurations, or large values'),
        created: COUNT,
        updated: COUNT,
        deleted: COUNT,
        unchanged: COUNT,
        items: described(
          list(
            object({
              key: TEXT,
              type: { type: 'string', enum: ['created', 'updated', 'deleted'] },
              before: SIDE,
              after: SIDE,
              diff: DIFF,
            }),
          ),
          'The first 1,000',
        ),
        more: FLAG,
        warnings: list(refTo(FINDING)),
      }),
    },
    ...CHANGE_PROBLEMS,
  },
};
