import type { Evaluation, EvaluationContext } from '../evaluation/evaluation.ts';
import { SERVICE_ATTRIBUTE } from '../evaluation/model.ts';
import { codec } from '../rpc/codec.ts';
import type { CountRequest, CountResponse, FlagCount } from '../rpc/generated/flags/v1/flags.ts';
import type { Channels } from './channels.ts';
import type { Method } from './connection.ts';
import type { SignIn } from './sign-in.ts';

/** Different counts that are kept until they are told; what is beyond is not counted. */
export const FLAG_COUNTS_MAX = 5_000;
/** Counts of one call: what a server takes. */
const TOLD_AT_ONCE = 1_000;
const SERVICE_LENGTH_MAX = 100;

const COUNT: Method<CountRequest, CountResponse> = {
  path: '/flags.v1.FlagService/Count',
  encode: (request) => codec('flags.v1.CountRequest').encode(request),
  decode: (bytes) => codec('flags.v1.CountResponse').decode(bytes),
  // What may have arrived is not told again.
  mutating: true,
};

type Counts = Map<Evaluation, { count: number }>;

/** Counts what flags answer in this process, at the cost of looking a number up. Flags that are not there are not counted. */
export class FlagCounts {
  /** By service, flag and answer, of which there is one object each as long as the flag is what it is. */
  #counts = new Map<string, Map<string, Counts>>();
  #size = 0;

  add(key: string, context: EvaluationContext, evaluation: Evaluation): void {
    if (evaluation.errorCode === 'FLAG_NOT_FOUND') return;
    const said = context[SERVICE_ATTRIBUTE];
    const service = typeof said === 'string' && said.length <= SERVICE_LENGTH_MAX ? said : '';
    const known = this.#counts.get(service)?.get(key)?.get(evaluation);
    if (known !== undefined) known.count += 1;
    else if (this.#size < FLAG_COUNTS_MAX) this.#begin(service, key, evaluation);
  }

  /** What was counted since it was last taken. */
  take(): readonly FlagCount[] {
    const taken: FlagCount[] = [];
    for (const [service, byKey] of this.#counts) {
      for (const [flag, counts] of byKey) {
        for (const [{ variant = '', reason }, { count }] of counts) {
          taken.push({ flag, variant, reason, service, count });
        }
      }
    }
    this.#counts = new Map();
    this.#size = 0;
    return taken;
  }

  #begin(service: string, key: string, evaluation: Evaluation): void {
    const byKey = this.#counts.get(service) ?? new Map<string, Counts>();
    const counts: Counts = byKey.get(key) ?? new Map();
    this.#counts.set(service, byKey);
    byKey.set(key, counts);
    counts.set(evaluation, { count: 1 });
    this.#size += 1;
  }
}

/** Tells the cluster what was counted. @throws ClientError; what was not told then is lost */
export async function tellCounts(
  { channels, signIn }: { readonly channels: Channels; readonly signIn: SignIn },
  told: {
    readonly scope: Omit<CountRequest, 'counts'>;
    readonly counts: readonly FlagCount[];
    readonly timeoutMs: number;
    readonly signal: AbortSignal | undefined;
  },
): Promise<void> {
  const { scope, counts, timeoutMs, signal } = told;
  for (let at = 0; at < counts.length; at += TOLD_AT_ONCE) {
    const request = { ...scope, counts: counts.slice(at, at + TOLD_AT_ONCE) };
    await signIn.with({ timeoutMs, signal }, async (shown) =>
      channels.unary(COUNT, request, { ...shown, signal, kind: 'local' }),
    );
  }
}
