import { AnswerCheck } from '../../api/http/rest/answer-check.ts';
import { type Answered, answeredOf, type Method, type Sent } from '../../api/http/rest/rest-world.ts';

type Headers = Readonly<Record<string, string>>;

/** One thing that a face let out: what was asked, and all that came back. */
export interface LetOut {
  readonly what: string;
  readonly text: string;
}

/** As the document of a server has them. */
export interface DocumentedOperation {
  readonly id: string;
  readonly method: Method;
  /** With `{name}` for each part that changes. */
  readonly path: string;
  /** Names of the parameters of its query. */
  readonly query: readonly string[];
  /** Names of the header fields that it reads. */
  readonly headers: readonly string[];
  /** Media types of its body; none = it takes none. */
  readonly bodyTypes: readonly string[];
  /** A body may be left out. */
  readonly isBodyOptional: boolean;
  /** It reads: its query takes a consistency. */
  readonly isRead: boolean;
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, RawOperation>>>>;
  readonly components: object;
}
interface RawOperation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
}

/**
 * The REST face of a running server, as a client has it. Every answer is held to the OpenAPI document that the server
 * itself gives, and kept, so that what must never be let out can be looked for.
 */
export class Face {
  readonly url: string;
  readonly operations: readonly DocumentedOperation[];
  /** All answers but those that were to reveal secrets. */
  readonly letOut: LetOut[] = [];
  readonly #check: AnswerCheck;

  private constructor(url: string, document: Document) {
    this.url = url;
    this.#check = new AnswerCheck(document);
    this.operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => documented(path, method, operation)),
    );
  }

  static async of(url: string): Promise<Face> {
    const response = await fetch(`${url}/openapi.json`);
    return new Face(url, (await response.json()) as Document);
  }

  /** @param sent.reveals the answer is to show secrets: it is not kept */
  async call(
    method: Method,
    path: string,
    sent: Sent & { readonly reveals?: boolean | undefined } = {},
  ): Promise<Answered & { readonly operationId: string | null }> {
    const { body, payload, headers, reveals } = sent;
    const isJson = payload === undefined && body !== undefined;
    const response = await fetch(this.url + path, {
      method,
      headers: { ...(isJson && { 'content-type': 'application/json' }), ...headers },
      ...(isJson ? { body: JSON.stringify(body) } : payload === undefined ? {} : { body: payload }),
    });
    const text = await response.text();
    const answered = answeredOf(response.status, Object.fromEntries(response.headers), text);
    if (reveals !== true) {
      const shown = JSON.stringify([...response.headers]);
      this.letOut.push({ what: `${method} ${path}: ${response.status}`, text: `${shown}\n${text}` });
    }
    return { ...answered, operationId: this.#check.hold(method, path, answered) };
  }

  get(path: string, headers: Headers = {}): Promise<Answered> {
    return this.call('GET', path, { headers });
  }

  post(path: string, body: unknown, headers: Headers = {}): Promise<Answered> {
    return this.call('POST', path, { body, headers });
  }

  put(path: string, body: unknown, headers: Headers = {}): Promise<Answered> {
    return this.call('PUT', path, { body, headers });
  }
}

function documented(path: string, method: string, operation: RawOperation): DocumentedOperation {
  const { operationId, parameters = [], requestBody } = operation;
  const namesIn = (place: string): readonly string[] =>
    parameters.filter((parameter) => parameter.in === place).map(({ name }) => name);
  const query = namesIn('query');
  const content = requestBody?.content ?? {};
  return {
    id: operationId,
    method: method.toUpperCase() as Method,
    path,
    query,
    headers: namesIn('header'),
    bodyTypes: Object.keys(content),
    isBodyOptional: 'nullable' in schemaOf(content),
    isRead: query.includes('consistency'),
  };
}

function schemaOf(content: Readonly<Record<string, { readonly schema: object }>>): object {
  return Object.values(content)[0]?.schema ?? {};
}
