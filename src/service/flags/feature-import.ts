import { checkSet } from '../../evaluation/check-set.ts';
import { importFlagd } from '../../evaluation/flagd.ts';
import type { FlagDefinition, Segment } from '../../evaluation/model.ts';
import type { Caller } from '../caller.ts';
import type { ChangeOptions } from '../commit.ts';
import type { ServiceContext } from '../context.ts';
import type { FeatureKind, FeatureName, Scope } from '../model.ts';
import { checkScope, Problems } from '../names.ts';
import { type FieldProblem, ServiceError } from '../service-error.ts';
import { definitionJson } from './definition-json.ts';
import { checkScopeAccess } from './feature-access.ts';
import { applyFeatureEdits } from './feature-apply.ts';
import {
  checkFeatureName,
  type FeatureContent,
  featureContentFrom,
  nameIn,
  sameFeature,
} from './feature-content.ts';
import {
  FEATURE_EDITS_BYTES_MAX,
  FEATURE_EDITS_MAX,
  type FeatureEdit,
  isThere,
  storedFeature,
} from './feature-edits.ts';
import { checkReferences } from './reference-checks.ts';

/** Flags and segments of one import. */
export const IMPORTED_FEATURES_MAX = 10_000;
/** What row and version of a feature take beside its content, at most. */
const OVERHEAD_BYTES = 4 * 1024;

export interface ImportFlagsRequest extends ChangeOptions {
  readonly scope: Scope;
  /** Of flagd, parsed. */
  readonly document: unknown;
  /** Check and answer, but change nothing. */
  readonly dryRun?: boolean | undefined;
  /** Leave out what cannot be taken over, instead of refusing the whole. */
  readonly partial?: boolean | undefined;
}

export interface ImportFlagsAnswer {
  /** Of the last change; 0 = nothing was changed. */
  readonly revision: number;
  /** In the order in which they are made: segments first, and flags after those that they require. */
  readonly items: readonly {
    readonly kind: FeatureKind;
    readonly key: string;
    readonly type: 'created' | 'updated' | 'unchanged';
  }[];
  /** What was left out, by its place in the document. */
  readonly findings: readonly FieldProblem[];
}

/** The use case that takes flags over from flagd. What is there already gets another version; all others stay. */
export class FlagImport {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /**
   * Everything is checked first. More than 40 come in several changes, each whole; one that is cut off is gone on with by
   * importing the same again.
   *
   * @throws ServiceError `invalid` with places in the document named, `too-large`, `conflict`, `forbidden`
   */
  async import(caller: Caller, request: ImportFlagsRequest): Promise<ImportFlagsAnswer> {
    const { scope, dryRun = false } = request;
    checkScope(scope);
    for (const kind of ['flag', 'segment'] as const) {
      await checkScopeAccess(this.#context.access, caller, { scope, kind, mode: 'write' });
    }
    const { read, findings } = this.#read(request);
    await this.#context.projection.catchUp(caller.signal);
    const edits = this.#edits(read);
    checkReferences(this.#context.projection.state, edits);
    const items = edits.map(({ name, before, content }) => ({
      kind: name.kind,
      key: name.key,
      type: typeOf(before, content!),
    }));
    if (dryRun) return { revision: 0, items, findings };
    let revision = 0;
    for (const [at, chunk] of chunksOf(edits).entries()) {
      ({ revision } = await this.#make(caller, { request, chunk, at }));
    }
    return { revision, items, findings };
  }

  #read({ scope, document, partial = false }: ImportFlagsRequest): {
    readonly read: readonly { readonly name: FeatureName; readonly content: FeatureContent }[];
    readonly findings: readonly FieldProblem[];
  } {
    const { flags, segments, findings: found } = importFlagd(document);
    if (flags.length + segments.length > IMPORTED_FEATURES_MAX) {
      throw new ServiceError('too-large', `one import takes ${IMPORTED_FEATURES_MAX} flags and segments`);
    }
    const problems = new Problems();
    const findings: FieldProblem[] = [...found];
    const read = inOrder(flags, segments).flatMap(({ kind, definition }) => {
      const name = nameIn(kind, scope, definition.key);
      const place = `${kind === 'flag' ? 'flags' : '$evaluators'}/${definition.key}/`;
      const own = new Problems();
      let content: FeatureContent | null = null;
      own.gather(place, () => {
        checkFeatureName(name);
        content = featureContentFrom({ definition: definitionJson(definition) }, { name, before: null });
      });
      findings.push(...own.list);
      return content === null ? [] : [{ name, content: content as FeatureContent }];
    });
    if (!partial) problems.addAll(findings);
    problems.check();
    return { read, findings };
  }

  /** Descriptions and tags, which flagd has none of, stay. */
  #edits(
    read: readonly { readonly name: FeatureName; readonly content: FeatureContent }[],
  ): readonly FeatureEdit[] {
    const { state } = this.#context.projection;
    return read.map(({ name, content }) => {
      const before = storedFeature(state, name);
      const kept = isThere(before) ? { description: before.row.description, tags: before.row.tags } : {};
      return { name, field: '', before, content: { ...content, ...kept } };
    });
  }

  async #make(
    caller: Caller,
    {
      request,
      chunk,
      at,
    }: { readonly request: ImportFlagsRequest; readonly chunk: readonly FeatureEdit[]; readonly at: number },
  ): Promise<{ readonly revision: number }> {
    const { idempotencyKey, scope } = request;
    // Each change has a key of its own, so that a repeated import finds those that were made.
    const key =
      idempotencyKey === undefined || idempotencyKey === null ? idempotencyKey : `${idempotencyKey}/${at}`;
    const parts = chunk.map(({ name, content }) => ({ name, content: content! }));
    return applyFeatureEdits(
      this.#context,
      caller,
      {
        operation: 'import',
        tenant: scope.tenant,
        options: { ...request, idempotencyKey: key },
        body: parts,
      },
      () => this.#edits(parts),
    );
  }
}

function typeOf(before: FeatureEdit['before'], content: FeatureContent): 'created' | 'updated' | 'unchanged' {
  if (!isThere(before)) return 'created';
  return sameFeature(before.row, content) ? 'unchanged' : 'updated';
}

/** Each after what it refers to, so that every change is whole by itself; what refers to nothing known comes last. */
function inOrder(
  flags: readonly FlagDefinition[],
  segments: readonly Segment[],
): readonly { readonly kind: FeatureKind; readonly definition: FlagDefinition | Segment }[] {
  const flagsByKey = new Map(flags.map((flag) => [flag.key, flag]));
  const segmentsByKey = new Map(segments.map((segment) => [segment.key, segment]));
  const checked = checkSet(flagsByKey, segmentsByKey);
  const ordered = <Definition>(known: ReadonlyMap<string, Definition>, order: readonly string[]) =>
    [...new Set([...order, ...known.keys()])].map((key) => known.get(key)!);
  return [
    ...ordered(segmentsByKey, checked.segments.order).map(
      (definition) => ({ kind: 'segment', definition }) as const,
    ),
    ...ordered(flagsByKey, checked.flags.order).map((definition) => ({ kind: 'flag', definition }) as const),
  ];
}

function chunksOf(edits: readonly FeatureEdit[]): readonly (readonly FeatureEdit[])[] {
  const chunks: FeatureEdit[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const edit of edits) {
    // The row and the version.
    const more = 2 * (Buffer.byteLength(JSON.stringify(edit.content)) + OVERHEAD_BYTES);
    if (bytes + more > FEATURE_EDITS_BYTES_MAX || chunks.at(-1)!.length === FEATURE_EDITS_MAX) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)!.push(edit);
    bytes += more;
  }
  return chunks;
}
