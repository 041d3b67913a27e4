import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { FastifyInstance } from 'fastify';
import { type FieldProblem, invalid } from '../../../service/service-error.ts';
import { isLargeBody } from './bodies.ts';
import { PROBLEMS_MAX } from './limits.ts';

/** Formats are for readers of the document: the service checks what it is given. */
const OPTIONS = { strict: false, validateFormats: false } as const;

/**
 * Checks requests by the schemas of their routes. Bodies must be as they say; parameters come as text and are made what
 * they say. All that is wrong is told, or for the sake of time the first of a body that is large.
 *
 * @param schemas those that others refer to
 */
export function checkRequests(app: FastifyInstance, schemas: readonly object[]): void {
  const parameters = new Ajv({ ...OPTIONS, allErrors: true, coerceTypes: true });
  const bodies = new Ajv({ ...OPTIONS, allErrors: true });
  const largeBodies = new Ajv(OPTIONS);
  for (const schema of schemas) {
    bodies.addSchema(schema);
    largeBodies.addSchema(schema);
  }
  app.setValidatorCompiler<object>(({ schema, httpPart }) => {
    if (httpPart !== 'body') return checkOf(parameters, schema);
    const [all, first] = [checkOf(bodies, schema), checkOf(largeBodies, schema)];
    return (body: unknown) => (isLargeBody(body) ? first(body) : all(body));
  });
}

type Check = (data: unknown) => { readonly value: unknown } | { readonly error: Error };

/** Compiled when it is first needed: most are not for long, and all of them take a second at the start. */
function checkOf(ajv: Ajv, schema: object): Check {
  let validate: ValidateFunction | null = null;
  return (data) => {
    validate ??= ajv.compile(schema);
    return validate(data) ? { value: data } : { error: failureOf(validate.errors ?? []) };
  };
}

function failureOf(errors: readonly ErrorObject[]): Error {
  const problems = new Map<string, FieldProblem>();
  for (const error of errors) {
    const problem = problemOf(error);
    // A choice that fails says so for each of its ways: the first words about a field are enough.
    if (!problems.has(problem.field)) problems.set(problem.field, problem);
    if (problems.size === PROBLEMS_MAX) break;
  }
  return invalid(...problems.values());
}

function problemOf({ keyword, instancePath, params, message = 'is wrong' }: ErrorObject): FieldProblem {
  const path = instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
  const at = (...more: readonly string[]): string => [...path, ...more].join('/');
  switch (keyword) {
    case 'required':
      return { field: at(String(params['missingProperty'])), message: 'is missing' };
    case 'additionalProperties':
      return { field: at(String(params['additionalProperty'])), message: 'is not known here' };
    case 'enum':
      return {
        field: at(),
        message: `must be one of ${(params['allowedValues'] as readonly unknown[]).join(', ')}`,
      };
    case 'type':
      return { field: at(), message: typeMessage(path, params['type']) };
    default:
      return { field: at(), message };
  }
}

function typeMessage(path: readonly string[], type: unknown): string {
  if (path.length === 0) return 'the body must be a JSON object';
  return `must be ${[type].flat().join(' or ')}`;
}
