import type { EvaluationContext } from './evaluation.ts';
import { NOW_ATTRIBUTE } from './model.ts';

/** Where an attribute is found, worked out once. */
export type Attribute =
  /** A name that no object has from birth: the lookup itself tells. */
  | { readonly kind: 'plain'; readonly name: string }
  | { readonly kind: 'guarded'; readonly name: string; readonly path: readonly string[] }
  | { readonly kind: 'now'; readonly name: string };

export function attributeOf(name: string): Attribute {
  if (name === NOW_ATTRIBUTE) return { kind: 'now', name };
  if (!name.includes('.') && !(name in Object.prototype)) return { kind: 'plain', name };
  return { kind: 'guarded', name, path: name.split('.') };
}

/** @returns undefined or null where there is none */
export function read(attribute: Attribute, context: EvaluationContext, nowMs: number): unknown {
  if (attribute.kind === 'plain') return context[attribute.name];
  if (attribute.kind === 'now') return nowMs;
  return Object.hasOwn(context, attribute.name) ? context[attribute.name] : walk(context, attribute.path);
}

function walk(context: EvaluationContext, path: readonly string[]): unknown {
  let value: unknown = context;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  return value;
}

/** Texts as they are, numbers and booleans as they are written; null for what has no text. */
export function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

/** The texts of those that have one. */
export function textsOf(values: readonly unknown[]): readonly string[] {
  return values.flatMap((value) => textOf(value) ?? []);
}

/** Numbers, and texts that are written as one; NaN for everything else. */
export function numberOf(value: unknown): number {
  if (typeof value === 'number') return value;
  return typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN;
}
