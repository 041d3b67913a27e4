import type { Caller } from '../caller.ts';
import { printSet, type SetFormat } from '../formats/set-format.ts';
import type { Shape } from '../formats/tree.ts';
import type { Scope } from '../model.ts';
import { invalid } from '../service-error.ts';
import type { Answer, ReadOptions, Reads } from './reads.ts';

export interface ExportRequest extends ReadOptions {
  readonly scope: Scope;
  readonly format: SetFormat;
  /** Of JSON and YAML: keys as they are, or objects in objects at their dots. Default: flat. */
  readonly shape?: Shape | undefined;
  /** Also what the environment inherits, and defaults; else only what it has itself. */
  readonly inherited?: boolean | undefined;
  /** Secrets themselves, which is recorded; else their mask, which an import passes over. */
  readonly reveal?: boolean | undefined;
}

/** Values as one text. */
export interface ExportedSet {
  /** Of the values; the text follows from them and from how it was asked for. */
  readonly etag: string;
  readonly text: string;
}

/** The use case that writes the values of an application as one text. */
export class TextExport {
  readonly #reads: Reads;

  constructor(reads: Reads) {
    this.#reads = reads;
  }

  /** @throws ServiceError `invalid` for keys that the format cannot hold, `not-found` as `Reads.effective` */
  async export(caller: Caller, request: ExportRequest): Promise<Answer<ExportedSet>> {
    const { scope, format, shape = 'flat', inherited, reveal, consistency } = request;
    const { revision, result } = await this.#reads.effective(caller, { scope, reveal, consistency });
    const items = result.items.filter(({ source }) => inherited === true || source === 'own');
    const values = new Map(items.map(({ key, value }) => [key, value.json]));
    const { text, problems } = printSet(values, { format, shape });
    if (problems.length > 0) throw invalid(...problems.map(({ key, message }) => ({ field: key, message })));
    return { revision, result: { etag: result.etag, text } };
  }
}
