import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { EvaluationContext } from '../../../evaluation/evaluation.ts';
import type { Json, Scope } from '../../../service/model.ts';
import { EVALUATION_BYTES_MAX } from '../../flag-scope.ts';
import type { RestContext } from '../rest/context.ts';
import { sendRead } from '../rest/exchange.ts';
import { ofrepAnswer, ofrepStatus } from './answers.ts';
import { evaluationTag } from './entity-tag.ts';
import { EventStreams, revisionOfTag } from './event-streams.ts';
import { sendOfrepError } from './problems.ts';
import { ofrepSchema } from './schemas.ts';
import { type OfrepQuery, ofrepScope } from './scope.ts';

/** Where flags are evaluated; the second for clients of which only the base URL can be set. */
const PREFIXES = ['', '/flags/:application/:environment'] as const;
/** How long a page that nobody sees keeps its stream (the protocol's default). */
const INACTIVITY_SECONDS = 120;

type Evaluation = {
  readonly Body: { readonly context?: EvaluationContext };
  readonly Querystring: OfrepQuery;
};

/**
 * The OpenFeature Remote Evaluation Protocol 0.3. Answers come from what this server knows; a client that was told of a
 * change is answered with that change.
 */
export async function ofrep(api: FastifyInstance, context: RestContext): Promise<void> {
  const face = new Ofrep(context);
  const { logger } = context;
  const streams = new EventStreams(context.service.flagReads, logger);
  api.setErrorHandler((error, request, reply) => sendOfrepError(error, { request, reply, logger }));
  api.addHook('preClose', async () => streams.close());
  for (const prefix of PREFIXES) {
    const isBelowScope = prefix !== '';
    const bodyLimit = EVALUATION_BYTES_MAX;
    api.post<Evaluation & { readonly Params: { readonly key: string } }>(
      `${prefix}/ofrep/v1/evaluate/flags/:key`,
      { bodyLimit, schema: ofrepSchema('flag', isBelowScope) },
      (request, reply) => face.one(request, reply, request.params.key),
    );
    api.post<Evaluation>(
      `${prefix}/ofrep/v1/evaluate/flags`,
      { bodyLimit, schema: ofrepSchema('flags', isBelowScope) },
      (request, reply) => face.all(request, reply),
    );
    api.get(
      `${prefix}/ofrep/v1/events`,
      { schema: ofrepSchema('events', isBelowScope), config: { isStream: true } },
      async (request, reply) => {
        const scope = ofrepScope(request, context.defaultEnvironment);
        await streams.serve({ scope, request, reply });
      },
    );
  }
}

class Ofrep {
  readonly #context: RestContext;

  constructor(context: RestContext) {
    this.#context = context;
  }

  async one(request: FastifyRequest<Evaluation>, reply: FastifyReply, key: string): Promise<FastifyReply> {
    const { scope, set, revision } = await this.#flags(request);
    const context = request.body.context ?? {};
    const evaluation = set.evaluate(key, context, { nowMs: this.#nowMs });
    this.#context.service.flagUsage.evaluated(scope, key, { context, evaluation });
    const answer = ofrepAnswer(key, evaluation);
    reply.code(ofrepStatus(answer)).header('conclave-revision', revision).header('cache-control', 'no-store');
    return reply.type('application/json; charset=utf-8').send(JSON.stringify(answer));
  }

  async all(request: FastifyRequest<Evaluation>, reply: FastifyReply): Promise<FastifyReply> {
    const { scope, set, digest, revision } = await this.#flags(request);
    const context = request.body.context ?? {};
    const nowMs = this.#nowMs;
    // It was read from JSON.
    const etag = evaluationTag({ set, digest, context: context as Json, nowMs });
    return sendRead(request, reply, {
      revision,
      etag,
      body: () => ({
        flags: Array.from(set.keys(), (key) => ofrepAnswer(key, set.evaluate(key, context, { nowMs }))),
        ...streamsFor(request, scope),
      }),
    });
  }

  get #nowMs(): number {
    return this.#context.service.flagReads.nowMs();
  }

  async #flags(request: FastifyRequest<Evaluation>) {
    const { service, defaultEnvironment } = this.#context;
    const scope = ofrepScope(request, defaultEnvironment);
    const { caller } = request;
    const after = revisionOfTag(request.query.flagConfigEtag);
    if (after !== null) await service.projection.reach(after, caller.signal);
    const compiled = await service.flagReads.compiled(caller, { scope, consistency: { type: 'eventual' } });
    return { scope, ...compiled };
  }
}

/**
 * Where a client hears of changes. A browser shows no login when it opens a stream: those who have to show one are not
 * told of it.
 */
function streamsFor({ caller }: FastifyRequest, scope: Scope): { readonly eventStreams?: readonly object[] } {
  if (caller.principal.type === 'token') return {};
  const requestUri = `/ofrep/v1/events?${new URLSearchParams({ ...scope }).toString()}`;
  return {
    eventStreams: [{ type: 'sse', endpoint: { requestUri }, inactivityDelaySec: INACTIVITY_SECONDS }],
  };
}
