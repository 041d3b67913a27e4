import {
  ErrorCode,
  type EvaluationContext,
  type Hook,
  type JsonValue,
  OpenFeatureEventEmitter,
  type Provider,
  ProviderEvents,
  ProviderFatalError,
  type ResolutionDetails,
} from '@openfeature/server-sdk';
import { ClientError } from '../client/client-error.ts';
import { FlagClient, type FlagClientOptions, type FlagClientState } from '../client/flag-client.ts';
import type { Evaluation } from '../evaluation/evaluation.ts';
import { type FlagType, SERVICE_ATTRIBUTE } from '../evaluation/model.ts';

export interface ConclaveProviderOptions extends FlagClientOptions {
  /** The name of this service: every context has it as `service`, unless it has another, so that flags can ask for it. */
  readonly service?: string;
}

/**
 * A provider for `@openfeature/server-sdk`: flags of one application in one environment, evaluated in this process. It is
 * ready as soon as it has the flags; STALE while the cluster is away, and the answers are as they were; ERROR as long as
 * it never had them, and ready by itself once it has. A login or a right that is missing is fatal.
 */
export class ConclaveProvider implements Provider {
  readonly metadata = { name: 'conclave' } as const;
  readonly runsOn = 'server';
  readonly events: OpenFeatureEventEmitter = new OpenFeatureEventEmitter();
  readonly hooks: Hook[];
  readonly #options: ConclaveProviderOptions;
  #client: FlagClient | null = null;

  constructor(options: ConclaveProviderOptions) {
    this.#options = options;
    const { service } = options;
    this.hooks = service === undefined ? [] : [serviceHook(service)];
  }

  /** Connects. @throws ProviderFatalError for a login or a right that is missing; what keeps it from the cluster */
  async initialize(): Promise<void> {
    try {
      this.#client = await FlagClient.open({ ...this.#options, whenAway: 'start-empty' });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof ClientError && error.code !== 'canceled')
        throw new ProviderFatalError(message, { cause: error });
      throw error;
    }
    const client = this.#client;
    client.onUpdate(({ keys }) => {
      this.events.emit(ProviderEvents.ConfigurationChanged, { flagsChanged: [...keys] });
    });
    client.onState((state) => this.#tell(state));
    if (client.state === 'empty') throw client.failure ?? new Error('the cluster did not answer in time');
  }

  /** Ends the connections. */
  async onClose(): Promise<void> {
    await this.#client?.close();
    this.#client = null;
  }

  resolveBooleanEvaluation(
    flagKey: string,
    defaultValue: boolean,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<boolean>> {
    return this.#resolve('boolean', { flagKey, defaultValue, context });
  }

  resolveStringEvaluation(
    flagKey: string,
    defaultValue: string,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<string>> {
    return this.#resolve('string', { flagKey, defaultValue, context });
  }

  resolveNumberEvaluation(
    flagKey: string,
    defaultValue: number,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<number>> {
    return this.#resolve('number', { flagKey, defaultValue, context });
  }

  resolveObjectEvaluation<T extends JsonValue>(
    flagKey: string,
    defaultValue: T,
    context: EvaluationContext,
  ): Promise<ResolutionDetails<T>> {
    return this.#resolve('object', { flagKey, defaultValue, context });
  }

  async #resolve<T>(
    type: FlagType,
    asked: { readonly flagKey: string; readonly defaultValue: T; readonly context: EvaluationContext },
  ): Promise<ResolutionDetails<T>> {
    const { flagKey, defaultValue, context } = asked;
    const client = this.#client;
    if (client === null || client.state === 'empty') {
      const errorMessage = 'the flags are not there yet';
      return { value: defaultValue, reason: 'ERROR', errorCode: ErrorCode.PROVIDER_NOT_READY, errorMessage };
    }
    return detailsOf(client.evaluate(flagKey, context, type), defaultValue);
  }

  #tell(state: FlagClientState): void {
    if (state === 'live') this.events.emit(ProviderEvents.Ready);
    if (state === 'stale') this.events.emit(ProviderEvents.Stale, { message: 'the cluster is away' });
  }
}

function detailsOf<T>(evaluation: Evaluation, defaultValue: T): ResolutionDetails<T> {
  const { value, variant, reason, errorCode, errorMessage, flagMetadata } = evaluation;
  return {
    // The type was checked.
    value: value === undefined ? defaultValue : (value as T),
    reason,
    flagMetadata,
    ...(variant === undefined ? {} : { variant }),
    ...(errorCode === undefined ? {} : { errorCode: ErrorCode[errorCode] }),
    ...(errorMessage === undefined ? {} : { errorMessage }),
  };
}

function serviceHook(service: string): Hook {
  return {
    before: ({ context }) =>
      context[SERVICE_ATTRIBUTE] === undefined ? { ...context, [SERVICE_ATTRIBUTE]: service } : context,
  };
}
