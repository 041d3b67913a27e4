import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { DeliveryRequest } from '../../../service/delivery/delivery.ts';
import type { Instance, InstanceRef, InstanceReport } from '../../../service/delivery/instance.ts';
import { environmentId } from '../../../service/environments/spelling.ts';
import { invalid } from '../../../service/service-error.ts';
import type { RestContext } from '../rest/context.ts';
import { sendRead, sendWritten } from '../rest/exchange.ts';
import { operation } from '../rest/schema.ts';
import { DELIVERY, END, GET, KEEP, LIST, TELL } from './delivery-operations.ts';
import { type RefBody, refOf } from './requests.ts';

interface DeliveryQuery extends Omit<RefBody, 'id'> {
  readonly revision?: number;
  readonly configuration?: string;
}
interface ListQuery {
  readonly environment?: string;
  readonly application?: string;
  readonly cursor?: string;
  readonly size?: number;
}
interface Place {
  readonly environment: string;
  readonly application: string;
  readonly id: string;
}
interface KeepBody extends InstanceReport {
  readonly version?: string;
  readonly region?: string;
  readonly ttlSeconds?: number;
}

/** Of instances that do not say how long they last. */
const TTL_SECONDS_DEFAULT = 60;

/** Who runs what, and who has which change. */
export function delivery(api: FastifyInstance, context: RestContext): void {
  const { service } = context;
  api.get<{ Querystring: DeliveryQuery }>(
    '/api/v1/delivery',
    { schema: operation(DELIVERY) },
    async (request, reply) => {
      const report = await service.delivery.report(request.caller, changeOf(request));
      return sendRead(request, reply, { revision: report.revision, body: () => report });
    },
  );

  api.get<{ Querystring: ListQuery }>(
    '/api/v1/instances',
    { schema: operation(LIST) },
    async (request, reply) => {
      const { environment, application, cursor, size } = request.query;
      const { items, next } = await service.delivery.instances(request.caller, {
        tenant: request.tenant,
        environment: environment === undefined ? undefined : environmentId(environment),
        application,
        cursor,
        size,
      });
      return sendRead(request, reply, { revision: 0, body: () => ({ items: items.map(instanceOf), next }) });
    },
  );
  single(api, context);
}

function single(api: FastifyInstance, { service }: RestContext): void {
  const path = '/api/v1/instances/:environment/:application/:id';
  api.get<{ Params: Place }>(path, { schema: operation(GET) }, async (request, reply) => {
    const instance = await service.delivery.instance(request.caller, refIn(request));
    return sendRead(request, reply, { revision: 0, body: () => instanceOf(instance) });
  });

  api.put<{ Params: Place; Body: KeepBody }>(path, { schema: operation(KEEP) }, async (request, reply) => {
    const { version = '', region = '', ttlSeconds = TTL_SECONDS_DEFAULT, ...said } = request.body;
    const info = { ...refIn(request), version, region };
    const { instance, isNew } = await service.delivery.keep(request.caller, info, {
      ttlMs: ttlSeconds * 1_000,
      ...said,
    });
    return sendWritten(reply, { revision: 0, status: isNew ? 201 : 200, body: instanceOf(instance) });
  });

  api.post<{ Params: Place; Body: InstanceReport }>(
    `${path}/report`,
    { schema: operation(TELL) },
    async (request, reply) => {
      const instance = await service.delivery.told(request.caller, refIn(request), request.body);
      return sendWritten(reply, { revision: 0, body: instanceOf(instance) });
    },
  );

  api.delete<{ Params: Place }>(path, { schema: operation(END) }, async (request, reply) => {
    await service.delivery.deregister(request.caller, refIn(request));
    return sendWritten(reply, { revision: 0 });
  });
}

/** @throws ServiceError `invalid` unless it is a revision, or a configuration */
function changeOf({
  tenant,
  query,
}: Pick<FastifyRequest<{ Querystring: DeliveryQuery }>, 'tenant' | 'query'>): DeliveryRequest {
  const { revision, configuration, ...name } = query;
  const isNamed = Object.keys(name).length > 0;
  if (revision !== undefined) {
    if (isNamed || configuration !== undefined)
      throw invalid({ field: 'revision', message: 'goes without a configuration' });
    return { tenant, revision };
  }
  if (configuration === undefined) {
    if (!isNamed) throw invalid({ field: 'revision', message: 'is missing, or a configuration' });
    return { configuration: refOf(tenant, name) };
  }
  if (isNamed)
    throw invalid({ field: 'configuration', message: 'goes without application, environment and key' });
  return { configuration: { tenant, id: configuration } };
}

function refIn({
  tenant,
  params,
}: Pick<FastifyRequest<{ Params: Place }>, 'tenant' | 'params'>): InstanceRef {
  const { environment, application, id } = params;
  return { tenant, environment: environmentId(environment), application, id };
}

function instanceOf(instance: Instance) {
  const { id, environment, application, version, region, sinceMs, applied, rejected, reportedMs } = instance;
  const [since, reportedAt] = [sinceMs, reportedMs].map((ms) => new Date(ms).toISOString());
  return { id, environment, application, version, region, since, applied, rejected, reportedAt };
}
