import type { Consistency } from './projection.ts';
import type { Service } from './service.ts';
import { ServiceError, type ServiceErrorCode } from './service-error.ts';

/** Parts of the service whose methods are use cases. */
const AREAS = [
  'configurations',
  'reads',
  'history',
  'comparisons',
  'merging',
  'promotion',
  'changeSets',
  'importing',
  'textImport',
  'textExport',
  'drifts',
  'validations',
  'environments',
  'applications',
  'features',
  'featureReads',
  'featureHistory',
  'flagReads',
  'featurePromotion',
  'flagImport',
  'staleFlags',
  'usageReports',
  'experiments',
  'audit',
] as const;
export type Area = (typeof AREAS)[number];

/** Use cases that change something, by area; all others read. */
const CHANGES: Readonly<Partial<Record<Area, ReadonlySet<string>>>> = {
  configurations: new Set(['create', 'update', 'put', 'delete', 'undelete', 'bulk', 'bulkAs']),
  history: new Set(['rollback']),
  merging: new Set(['merge']),
  promotion: new Set(['promote']),
  changeSets: new Set(['rollback']),
  importing: new Set(['import']),
  textImport: new Set(['import']),
  drifts: new Set(['adopt', 'revert']),
  environments: new Set(['create', 'update', 'delete']),
  applications: new Set(['create', 'update', 'delete']),
  featurePromotion: new Set(['promote']),
  flagImport: new Set(['import']),
  usageReports: new Set(['add']),
  experiments: new Set(['add', 'reset']),
  features: new Set([
    'create',
    'update',
    'put',
    'delete',
    'enable',
    'rollout',
    'revise',
    'undelete',
    'rollback',
    'bulk',
  ]),
};

/** One use of the service by a face, when it is over. */
export interface UseOfService {
  readonly area: Area;
  readonly useCase: string;
  readonly access: 'read' | 'write';
  /** Null where the request names none. */
  readonly application: string | null;
  /** Null of what is no read from the projection. */
  readonly consistency: Consistency['type'] | null;
  readonly durationMs: number;
  /** Null = it did what was asked; `bug` = it failed in a way that it should not. */
  readonly failure: ServiceErrorCode | 'bug' | null;
}

/** The same service, every use of which is told. */
export function observed(service: Service, used: (use: UseOfService) => void): Service {
  const watched = Object.fromEntries(AREAS.map((area) => [area, watchedArea(service[area], area, used)]));
  return { ...service, ...watched };
}

function watchedArea<T extends object>(useCases: T, area: Area, used: (use: UseOfService) => void): T {
  return new Proxy(useCases, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function' || typeof name !== 'string') return member;
      return (...words: readonly unknown[]): unknown => {
        const startedMs = performance.now();
        const result: unknown = Reflect.apply(member, target, words);
        if (!(result instanceof Promise)) return result;
        const over = (failure: UseOfService['failure']): void =>
          used({
            area,
            useCase: name,
            ...describe(area, { name, request: words[1] }),
            durationMs: performance.now() - startedMs,
            failure,
          });
        result.then(
          () => over(null),
          (error: unknown) => over(error instanceof ServiceError ? error.code : 'bug'),
        );
        return result;
      };
    },
  });
}

function describe(
  area: Area,
  { name, request }: { readonly name: string; readonly request: unknown },
): Pick<UseOfService, 'access' | 'application' | 'consistency'> {
  const isChange = CHANGES[area]?.has(name) === true;
  const asked: RequestShape = typeof request === 'object' && request !== null ? request : {};
  const named = [asked, asked.name, asked.ref, asked.scope].find(
    (part) => typeof part === 'object' && typeof part.application === 'string',
  );
  return {
    access: isChange ? 'write' : 'read',
    application: typeof named === 'object' ? (named.application ?? null) : null,
    consistency: isChange ? null : (asked.consistency?.type ?? 'strong'),
  };
}

/** What requests of the use cases have in common. */
interface RequestShape {
  readonly application?: string;
  readonly name?: string | { readonly application?: string };
  readonly ref?: { readonly application?: string };
  readonly scope?: { readonly application?: string };
  readonly consistency?: Consistency;
}
