import type { EvaluationContext } from '../../evaluation/evaluation.ts';
import type { Struct } from '../../rpc/generated/google/protobuf/struct.ts';
import type { RpcCall, RpcServer } from '../../rpc/server.ts';
import { type MessageWriter, type ResponseOf, serverStream, unary } from '../../rpc/service.ts';
import type { Caller } from '../../service/caller.ts';
import type { FlagUsage } from '../../service/flags/flag-usage.ts';
import type { Json, Scope } from '../../service/model.ts';
import { type JsonObject, objectOf, structOf } from '../structs.ts';
import { anyFlag, type FlagdAnswer, type FlagdType, firstFlagdAnswer, flagdAnswer } from './answers.ts';
import { FlagdDocuments } from './documents.ts';
import { checkRequestBytes, FlagFace, type FlagFaceOptions } from './face.ts';

const EVALUATION = ['flagd.evaluation.v1.Service', 'flagd.evaluation.v2.Service'] as const;
type Evaluation = (typeof EVALUATION)[number];
const SYNC = 'flagd.sync.v1.FlagSyncService';

const TYPES = {
  Boolean: 'boolean',
  String: 'string',
  Float: 'float',
  Int: 'int',
  Object: 'object',
} as const satisfies Readonly<Record<string, FlagdType>>;

/** Trailer: how many flags are not in a document since flagd cannot say them. */
export const OMITTED_TRAILER = 'conclave-flags-omitted';

/**
 * Registers flagd's services: evaluation in both versions, and sync. Evaluations answer what this server knows; documents
 * are as new as when they were asked for.
 */
export function registerFlagd(server: RpcServer, options: FlagFaceOptions): void {
  const face = new Flagd(options);
  for (const service of EVALUATION) {
    for (const [name, type] of Object.entries(TYPES) as [keyof typeof TYPES, FlagdType][]) {
      type Path = `/${Evaluation}/Resolve${keyof typeof TYPES}`;
      unary(server, `/${service}/Resolve${name}` as Path, async (message, call, bytes) => {
        const answer = await face.resolve(call, { service, type, message, bytes });
        return answer as ResponseOf<Path>;
      });
    }
    unary(server, `/${service}/ResolveAll` as const, async (message, call, bytes) =>
      face.resolveAll(call, message.context, bytes),
    );
    serverStream(server, `/${service}/EventStream` as const, async (_message, call, out) =>
      face.tellChanges(call, out),
    );
  }
  unary(server, `/${SYNC}/FetchAllFlags`, async ({ selector }, call) => face.fetch(call, selector));
  unary(server, `/${SYNC}/GetMetadata`, async () => ({ metadata: structOf({}) }));
  serverStream(server, `/${SYNC}/SyncFlags`, async ({ selector }, call, out) =>
    face.sync(call, selector, out),
  );
}

interface Resolve {
  readonly service: Evaluation;
  readonly type: FlagdType;
  readonly message: { readonly flag_key: string; readonly context: Struct | null };
  readonly bytes: number;
}
interface FlagdEvent {
  readonly type: string;
  readonly data: Struct | null;
}

class Flagd {
  readonly #face: FlagFace;
  readonly #reads: FlagFaceOptions['service']['flagReads'];
  readonly #usage: FlagUsage;
  readonly #documents: FlagdDocuments;

  constructor(options: FlagFaceOptions) {
    this.#face = new FlagFace(options);
    this.#reads = options.service.flagReads;
    this.#usage = options.service.flagUsage;
    this.#documents = new FlagdDocuments(this.#reads);
  }

  async resolve(call: RpcCall, { service, type, message, bytes }: Resolve): Promise<object> {
    return this.#face.answer(call, async (caller) => {
      checkRequestBytes(bytes);
      const { flag_key: key, context } = message;
      const { set } = await this.#flags(caller, call);
      const attributes = contextOf(context);
      const evaluation = set.evaluate(key, attributes, { nowMs: this.#reads.nowMs() });
      this.#usage.evaluated(this.#face.scopeOf(call), key, { context: attributes, evaluation });
      const toAnswer = service === 'flagd.evaluation.v1.Service' ? firstFlagdAnswer : flagdAnswer;
      return wireAnswer(toAnswer(evaluation, { key, type }), type);
    });
  }

  async resolveAll(call: RpcCall, context: Struct | null, bytes: number) {
    return this.#face.answer(call, async (caller) => {
      checkRequestBytes(bytes);
      const { set } = await this.#flags(caller, call);
      const attributes = contextOf(context);
      const nowMs = this.#reads.nowMs();
      const flags = Array.from(set.keys()).flatMap((key) => {
        const flag = anyFlag(set.evaluate(key, attributes, { nowMs }));
        return flag === null ? [] : [[key, flag] as const];
      });
      return { flags: Object.fromEntries(flags), metadata: structOf({}) };
    });
  }

  /** Of the flags that the call names, or of all that its caller may read: flagd's clients name none here. */
  async tellChanges(call: RpcCall, out: MessageWriter<Partial<FlagdEvent>>): Promise<void> {
    await this.#face.answer(call, async (caller) => {
      const changes = await this.#changes(caller, call);
      out.write({ type: 'provider_ready', data: structOf({}) });
      for await (const { keys } of changes) {
        const flags = Object.fromEntries(keys.map((key): [string, Json] => [key, { type: 'update' }]));
        out.write({ type: 'configuration_change', data: structOf({ flags }) });
        if (!out.bytes.writable) await out.bytes.drained();
      }
    });
  }

  async fetch(call: RpcCall, selector: string): Promise<{ readonly flag_configuration: string }> {
    return this.#face.answer(call, async (caller) => {
      const scope = this.#face.scopeOf(call, { selector });
      const { text, omitted } = await this.#documents.of(caller, { scope, consistency: { type: 'strong' } });
      call.setTrailer(OMITTED_TRAILER, String(omitted));
      return { flag_configuration: text };
    });
  }

  async sync(
    call: RpcCall,
    selector: string,
    out: MessageWriter<{ readonly flag_configuration: string; readonly sync_context: Struct | null }>,
  ): Promise<void> {
    await this.#face.answer(call, async (caller) => {
      const scope = this.#face.scopeOf(call, { selector });
      let told = '';
      const tell = async (): Promise<void> => {
        const { text } = await this.#documents.of(caller, { scope, consistency: { type: 'eventual' } });
        if (text === told) return;
        told = text;
        out.write({ flag_configuration: text, sync_context: structOf({}) });
        if (!out.bytes.writable) await out.bytes.drained();
      };
      // What is subscribed to is as new as the call, and so is the document after it.
      const { changes } = await this.#reads.subscribe(caller, { scope, after: null });
      await tell();
      for await (const _change of changes) await tell();
    });
  }

  async #changes(
    caller: Caller,
    call: RpcCall,
  ): Promise<AsyncIterable<{ readonly keys: readonly string[] }>> {
    if (!this.#face.hasScope(call)) return this.#reads.subscribeTenant(caller, this.#face.tenantOf(call));
    const scope: Scope = this.#face.scopeOf(call);
    return (await this.#reads.subscribe(caller, { scope, after: null })).changes;
  }

  async #flags(caller: Caller, call: RpcCall) {
    const scope = this.#face.scopeOf(call);
    return this.#reads.compiled(caller, { scope, consistency: { type: 'eventual' } });
  }
}

function contextOf(struct: Struct | null): EvaluationContext {
  return objectOf(struct);
}

function wireAnswer({ value, reason, variant, metadata }: FlagdAnswer, type: FlagdType): object {
  const shown = type === 'object' && value !== undefined ? structOf(value as JsonObject) : value;
  return {
    ...(shown === undefined ? {} : { value: shown }),
    ...(variant === undefined ? {} : { variant }),
    reason,
    metadata,
  };
}
