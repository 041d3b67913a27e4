import { Ajv, type ValidateFunction } from 'ajv';
import { expect } from 'vitest';
import type { Answered, Method } from './rest-world.ts';

interface Operation {
  readonly operationId: string;
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>
  >;
}

/** Holds answers to the OpenAPI document: every status is there, and no answer has a field that is not. */
export class AnswerCheck {
  readonly #paths: readonly {
    readonly pattern: RegExp;
    readonly item: Readonly<Record<string, Operation>>;
  }[];
  readonly #ajv = new Ajv({ strict: false, validateFormats: false });
  readonly #validators = new Map<object, ValidateFunction>();

  /** @param document OpenAPI, as the server gives it */
  constructor(document: object) {
    const closed = closedObjects(structuredClone(document)) as {
      readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
      readonly components: object;
    };
    this.#ajv.addSchema({ $id: 'document', components: closed.components });
    this.#paths = Object.entries(closed.paths)
      // Fixed paths before those with parameters, as they are routed.
      .sort(([left], [right]) => left.split('{').length - right.split('{').length)
      .map(([path, item]) => ({ pattern: new RegExp(`^${path.replaceAll(/\{[^}]+\}/g, '[^/]+')}$`), item }));
  }

  /** @returns the id of the operation that was called; null = the document has none there */
  hold(method: Method, url: string, answer: Answered): string | null {
    const path = url.split('?', 1)[0]!;
    const route = this.#paths.find(({ pattern, item }) => pattern.test(path) && method.toLowerCase() in item);
    if (route === undefined) return null;
    const { operationId, responses } = route.item[method.toLowerCase()]!;
    this.#holdAnswer(`${method} ${path}`, responses, answer);
    return operationId;
  }

  #holdAnswer(
    what: string,
    responses: Operation['responses'],
    { status, headers, text, body }: Answered,
  ): void {
    const response = responses[String(status)];
    if (response === undefined) {
      // Failures that any request can meet are not listed for each.
      expect(status, what).toBeGreaterThanOrEqual(400);
      return;
    }
    const type = String(headers['content-type'] ?? '').split(';', 1)[0]!;
    if (response.content === undefined) expect(text, what).toBe('');
    else {
      expect(Object.keys(response.content), what).toContain(type);
      if (body !== null && type.endsWith('json')) this.#holdBody(what, response.content[type]!.schema, body);
    }
  }

  #holdBody(what: string, schema: object, body: unknown): void {
    const known = this.#validators.get(schema);
    const validate = known ?? this.#ajv.compile(relocated(schema));
    this.#validators.set(schema, validate);
    validate(body);
    expect(validate.errors ?? [], what).toEqual([]);
  }
}

/** Objects with properties that have no others. */
function closedObjects(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closedObjects);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy = Object.fromEntries(Object.entries(schema).map(([name, part]) => [name, closedObjects(part)]));
  // What OpenAPI 3.0 says of a reference that may be null.
  const { nullable, allOf } = copy;
  if (nullable === true && Array.isArray(allOf))
    return { anyOf: [...(allOf as unknown[]), { type: 'null' }] };
  const properties = copy['properties'];
  const isObject = copy['type'] === 'object' && typeof properties === 'object';
  return isObject &&
    Object.keys(properties as object).length > 0 &&
    copy['additionalProperties'] === undefined
    ? { ...copy, additionalProperties: false }
    : copy;
}

function relocated(schema: object): object {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"document#/components/')) as object;
}
