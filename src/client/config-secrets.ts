import { ClientError } from './client-error.ts';
import type { ConfigEntry } from './config-entry.ts';
import type { ConfigScope } from './config-layers.ts';
import { HttpClient, type HttpClientOptions } from './http-client.ts';
import { ProblemError } from './problem.ts';

/** Where secrets are shown: the HTTP face of the cluster. */
export interface ConfigHttpOptions {
  /** `http://host:port` or `https://host:port` of one or more members. */
  readonly endpoints: readonly string[];
  /** Whom the record of the reading names; default `anonymous`, as far as the cluster allows that. */
  readonly user?: string;
  /** Further headers of every call. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Bounds of one call. */
export interface SecretCall {
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/**
 * Secrets as the service shows them to whoever may see them; every reading is recorded there. One that was read is kept
 * in memory, and nowhere else, until the configuration changes.
 */
export class Secrets {
  readonly #scope: ConfigScope;
  readonly #http: HttpClient;
  readonly #shown = new Map<string, { readonly revision: number; readonly text: string }>();

  constructor(
    scope: ConfigScope,
    { endpoints, user, headers }: ConfigHttpOptions,
    more: Pick<HttpClientOptions, 'tls' | 'login' | 'timeoutMs'>,
  ) {
    this.#scope = scope;
    this.#http = new HttpClient({
      ...more,
      endpoints,
      headers: {
        'x-conclave-tenant': scope.tenant,
        ...(user === undefined ? {} : { 'x-conclave-user': user }),
        ...headers,
      },
    });
  }

  /**
   * The text of a secret: of a string itself, of anything else its JSON. While no member answers it is the one that was
   * read before, if it was.
   *
   * @throws ProblemError, ClientError
   */
  async text({ key, revision }: ConfigEntry, call: SecretCall): Promise<string> {
    const known = this.#shown.get(key);
    if (known?.revision === revision) return known.text;
    try {
      const text = await this.#lookup(key, call);
      this.#shown.set(key, { revision, text });
      return text;
    } catch (error) {
      if (known !== undefined && isAway(error)) return known.text;
      throw error;
    }
  }

  /** Everything that was read. */
  forget(): void {
    this.#shown.clear();
  }

  async #lookup(key: string, call: SecretCall): Promise<string> {
    const { environment, application } = this.#scope;
    const { body } = await this.#http.call({
      method: 'GET',
      path: '/configs/lookup',
      query: { key, application, environment, reveal: true },
      ...call,
    });
    return valueIn(body.toString());
  }
}

/** @throws ClientError `data-loss` for an answer that is none of the service: of a proxy, say */
function valueIn(text: string): string {
  const noValue = 'the answer has no value where one was to be';
  try {
    const answer = JSON.parse(text) as { readonly value?: unknown } | null;
    if (typeof answer?.value === 'string') return answer.value;
  } catch (cause) {
    throw new ClientError('data-loss', noValue, { cause });
  }
  throw new ClientError('data-loss', noValue);
}

/** Whether a failure means that nobody could be asked, or could answer. */
export function isAway(error: unknown): boolean {
  if (error instanceof ProblemError) return error.status >= 500 || error.status === 429;
  return (
    error instanceof ClientError &&
    !['invalid-argument', 'permission-denied', 'unauthenticated', 'canceled', 'unimplemented'].includes(
      error.code,
    )
  );
}
