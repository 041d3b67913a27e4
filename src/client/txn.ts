import type { CallOptions } from './kv-client.ts';
import type {
  Bytes,
  Compare,
  DeleteAnswer,
  DeleteOptions,
  PutAnswer,
  PutOptions,
  RangeAnswer,
  RangeOptions,
  ResponseHeader,
  TxnAnswer,
  TxnOp,
  TxnOptions,
} from './types.ts';

const RESULTS = { '=': 'equal', '!=': 'not-equal', '>': 'greater', '<': 'less' } as const;
type Relation = keyof typeof RESULTS;
type NumberTarget = 'version' | 'create' | 'mod';

/**
 * What must be so of a key: `compare('a', 'version', '=', 0)` holds when there is no key `a`.
 *
 * @param target `version`, `create` and `mod` (revisions) are 0 of a key that is not there; its value cannot be compared
 */
export function compare(key: Bytes, target: NumberTarget, relation: Relation, operand: number): Compare;
export function compare(key: Bytes, target: 'value', relation: Relation, operand: Bytes): Compare;
export function compare(key: Bytes, target: 'lease', relation: Relation, operand: bigint): Compare;
export function compare(
  key: Bytes,
  target: Compare['target'],
  relation: Relation,
  operand: number | bigint | Bytes,
): Compare {
  const base = { key, result: RESULTS[relation] };
  // The overloads pair targets and operands.
  if (target === 'value') return { ...base, target, value: operand as Bytes };
  if (target === 'lease') return { ...base, target, lease: operand as bigint };
  return { ...base, target, number: operand as number };
}

/** A read of one key, or of a range, within a transaction. */
export function getOp(key: Bytes, options: Omit<RangeOptions, 'key'> = {}): RangeOp {
  return { type: 'range', key, ...options };
}

/** A put within a transaction. */
export function putOp(key: Bytes, value: Bytes, options: Omit<PutOptions, 'key' | 'value'> = {}): PutOp {
  return { type: 'put', key, value, ...options };
}

/** A deletion of one key, or of a range, within a transaction. */
export function deleteOp(key: Bytes, options: Omit<DeleteOptions, 'key'> = {}): DeleteOp {
  return { type: 'delete', key, ...options };
}

type RangeOp = Extract<TxnOp, { readonly type: 'range' }>;
type PutOp = Extract<TxnOp, { readonly type: 'put' }>;
type DeleteOp = Extract<TxnOp, { readonly type: 'delete' }>;

type AnswerOf<Op extends TxnOp> = Op extends RangeOp
  ? RangeAnswer
  : Op extends PutOp
    ? PutAnswer
    : DeleteAnswer;
/** The answers of operations, in their order. */
export type AnswersOf<Ops extends readonly TxnOp[]> = { readonly [At in keyof Ops]: AnswerOf<Ops[At]> };

/** What became of a transaction: `succeeded` says which side was performed, and types its answers. */
export type TypedTxnAnswer<Success extends readonly TxnOp[], Failure extends readonly TxnOp[]> = {
  readonly header: ResponseHeader;
} & (
  | { readonly succeeded: true; readonly responses: AnswersOf<Success> }
  | { readonly succeeded: false; readonly responses: AnswersOf<Failure> }
);

type Commit = (options: TxnOptions, call: CallOptions) => Promise<TxnAnswer>;

/**
 * Builds a transaction: all of `do` at one revision if everything of `when` holds, else all of `otherwise`. Each call
 * returns a builder of its own. It has no method `then`: `await` would take it for a promise.
 */
export class TxnBuilder<
  const Success extends readonly TxnOp[] = readonly [],
  const Failure extends readonly TxnOp[] = readonly [],
> {
  readonly #commit: Commit;
  readonly #compare: readonly Compare[];
  readonly #success: Success;
  readonly #failure: Failure;

  constructor(
    commit: Commit,
    parts: { readonly compare: readonly Compare[]; readonly success: Success; readonly failure: Failure },
  ) {
    this.#commit = commit;
    this.#compare = parts.compare;
    this.#success = parts.success;
    this.#failure = parts.failure;
  }

  /** Adds conditions; without any, `do` is performed. */
  when(...conditions: readonly Compare[]): TxnBuilder<Success, Failure> {
    return new TxnBuilder(this.#commit, { ...this.#parts(), compare: [...this.#compare, ...conditions] });
  }

  /** What is done when all conditions hold. */
  do<const Ops extends readonly TxnOp[]>(...operations: Ops): TxnBuilder<Ops, Failure> {
    return new TxnBuilder(this.#commit, { ...this.#parts(), success: operations });
  }

  /** What is done when one does not. */
  otherwise<const Ops extends readonly TxnOp[]>(...operations: Ops): TxnBuilder<Success, Ops> {
    return new TxnBuilder(this.#commit, { ...this.#parts(), failure: operations });
  }

  /** Sends the transaction. @throws ClientError, `uncertain` when it may have been performed all the same */
  async commit(call: CallOptions = {}): Promise<TypedTxnAnswer<Success, Failure>> {
    const { header, succeeded, responses } = await this.#commit(this.#parts(), call);
    // The server answers each operation of the side in its place.
    return { header, succeeded, responses } as unknown as TypedTxnAnswer<Success, Failure>;
  }

  #parts(): { readonly compare: readonly Compare[]; readonly success: Success; readonly failure: Failure } {
    return { compare: this.#compare, success: this.#success, failure: this.#failure };
  }
}

/** Whether a transaction changes nothing, whichever side is performed. */
export function isReadOnly({ success, failure }: TxnOptions): boolean {
  return [...success, ...failure].every(({ type }) => type === 'range');
}
