import { featureId } from '../config-format/ids.ts';
import type { HttpContext } from './http-context.ts';

/** A flag as the service shows it, as far as it is printed. */
export interface ShownFlag {
  readonly key: string;
  readonly application: string;
  readonly environment: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly version: number;
  readonly updatedBy: string;
  readonly updatedAt: string;
  readonly source?: 'own' | 'inherited';
  readonly definition: {
    readonly type: string;
    readonly enabled: boolean;
    readonly variants: { readonly [name: string]: unknown };
    readonly rules: readonly { readonly rollout: { readonly share: number } | null }[];
  };
}

/** The path of a flag, whose id follows from its name. */
export function flagPath(context: HttpContext, key: string): string {
  const { tenant } = context;
  const name = { tenant, environment: context.environment(), application: context.application(), key };
  return `/api/v1/flags/${featureId({ kind: 'flag', ...name })}`;
}

/** `12.5 %` of hundredths of a percent. */
export function percent(share: number): string {
  return `${share / 100} %`;
}
