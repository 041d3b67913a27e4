import type { FeatureDefinition, Json } from '../model.ts';

/** A definition as any other JSON: it was JSON when it was written. */
export function definitionJson(definition: FeatureDefinition['definition']): Json {
  return definition as unknown as Json;
}
