import { exportFlagd } from '../../evaluation/flagd.ts';
import type { Caller } from '../../service/caller.ts';
import type { FlagReads } from '../../service/flags/flag-reads.ts';
import type { KnownFlags } from '../../service/flags/flag-sets.ts';
import type { Scope } from '../../service/model.ts';
import type { Consistency } from '../../service/projection.ts';
import { unchangedUntilMs } from '../flag-time.ts';

/** A document of flagd, as text. */
export interface FlagdText {
  readonly text: string;
  /** Flags that flagd cannot say, which are left out. */
  readonly omitted: number;
}

/** Documents of flagd, each written once for all who ask as long as it holds. */
export class FlagdDocuments {
  readonly #reads: FlagReads;
  readonly #written = new WeakMap<KnownFlags['set'], FlagdText & { readonly untilMs: number }>();

  constructor(reads: FlagReads) {
    this.#reads = reads;
  }

  /** @throws ServiceError as `FlagReads.definitions` */
  async of(
    caller: Caller,
    wanted: { readonly scope: Scope; readonly consistency: Consistency },
  ): Promise<FlagdText> {
    const { result } = await this.#reads.definitions(caller, wanted);
    const nowMs = this.#reads.nowMs();
    const known = this.#written.get(result.set);
    if (known !== undefined && nowMs < known.untilMs) return known;
    const { flags, segments, set } = result;
    const { document, findings } = exportFlagd({ flags: flags.values(), segments: segments.values() }, nowMs);
    const omitted = new Set(findings.map(({ flag }) => flag)).size;
    const written = { text: JSON.stringify(document), omitted, untilMs: unchangedUntilMs(set, nowMs) };
    this.#written.set(set, written);
    return written;
  }
}
