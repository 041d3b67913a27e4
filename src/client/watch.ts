import type { WatchBatch, WatchOptions } from './types.ts';
import { openWatchStream, type WatchConnection } from './watch-stream.ts';

/**
 * Every change of the range in order, each once, over any number of lost connections and members: after one is lost
 * the watch goes on behind the last revision that was told. It ends when the signal is aborted, the client is
 * closed or the loop is left.
 *
 * @throws ClientError `out-of-range` with `compactRevision` when history from its revision on is gone, `unavailable`
 *   when no member could be reached for a long while, and what the server says otherwise
 */
export async function* watch(
  connection: WatchConnection,
  options: WatchOptions,
): AsyncGenerator<WatchBatch, void, undefined> {
  for await (const item of openWatchStream(connection, options)) {
    if (item.type === 'events') yield { header: item.header, events: item.events };
    else if (item.type === 'progress' && options.progressNotify === true)
      yield { header: item.header, events: [] };
  }
}
