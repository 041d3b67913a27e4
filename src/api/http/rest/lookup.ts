import type { FastifyReply, FastifyRequest } from 'fastify';
import type { EffectiveMap, EffectiveOptions, EffectiveView } from '../../../service/configurations/reads.ts';
import type { ConfigurationName, Scope } from '../../../service/model.ts';
import type { Service } from '../../../service/service.ts';
import { ServiceError } from '../../../service/service-error.ts';
import { isNoneMatch } from './entity-tags.ts';
import { sendRead } from './exchange.ts';

interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Secrets make another representation, with a tag of its own. */
const REVEALED = '-revealed';

/**
 * Answers what holds for a key. A secret is revealed only to callers who do not have it already, so that polling with
 * `If-None-Match` leaves no trail of records.
 *
 * @param wanted.otherwise what is answered when nothing holds; without it that is 404
 */
export async function lookedUp(
  { reads }: Pick<Service, 'reads'>,
  { request, reply }: Exchange,
  wanted: {
    readonly name: ConfigurationName;
    readonly reveal: boolean;
    readonly options: Omit<EffectiveOptions, 'reveal'>;
    readonly shape: (view: EffectiveView) => unknown;
    readonly otherwise?: () => unknown;
  },
): Promise<FastifyReply> {
  const { name, reveal, options, shape, otherwise } = wanted;
  const masked = await found(reads.lookup(request.caller, { name, ...options }), otherwise !== undefined);
  if (masked === null) return sendRead(request, reply, { revision: 0, body: otherwise! });
  const isSecret = reveal && masked.result.value.isMasked;
  const isKnown =
    isSecret && isNoneMatch(request.headers['if-none-match'], `${masked.result.etag}${REVEALED}`);
  const { revision, result } =
    isSecret && !isKnown ? await reads.lookup(request.caller, { name, reveal, ...options }) : masked;
  const etag = isSecret ? `${result.etag}${REVEALED}` : result.etag;
  return sendRead(request, reply, { revision, etag, body: () => shape(result), isSecret });
}

/** What was looked up; null for what is not there, if that may be. */
async function found<T>(looking: Promise<T>, mayBeAbsent: boolean): Promise<T | null> {
  try {
    return await looking;
  } catch (error) {
    if (mayBeAbsent && error instanceof ServiceError && error.code === 'not-found') return null;
    throw error;
  }
}

/** As `lookedUp`, of everything that holds for an application in an environment. */
export async function lookedUpAll(
  { reads }: Pick<Service, 'reads'>,
  { request, reply }: Exchange,
  wanted: {
    readonly scope: Scope;
    readonly reveal: boolean;
    readonly options: Omit<EffectiveOptions, 'reveal'>;
    readonly shape: (map: EffectiveMap) => unknown;
    /** Stands for what else is in the answer; empty = nothing. */
    readonly tag?: string;
  },
): Promise<FastifyReply> {
  const { scope, reveal, options, shape, tag = '' } = wanted;
  const tagOf = (etag: string, isRevealed: boolean): string =>
    `${etag}${tag === '' ? '' : `-${tag}`}${isRevealed ? REVEALED : ''}`;
  const masked = await reads.effective(request.caller, { scope, ...options });
  const isSecret = reveal && masked.result.items.some(({ value }) => value.isMasked);
  const isKnown = isSecret && isNoneMatch(request.headers['if-none-match'], tagOf(masked.result.etag, true));
  const { revision, result } =
    isSecret && !isKnown ? await reads.effective(request.caller, { scope, reveal, ...options }) : masked;
  const etag = tagOf(result.etag, isSecret);
  return sendRead(request, reply, { revision, etag, body: () => shape(result), isSecret });
}
