import type { ServerResponse } from 'node:http';
import { UnreadBudget } from '../../lib/unread-budget.ts';
import type { HttpLimits } from './http-limits.ts';

/**
 * Sees to it that answers are read: what a client leaves unread is memory of this process. An answer that is sent while
 * it is made is not looked at before its end: whoever makes it waits for the client.
 */
export class UnreadAnswers {
  readonly #takeMs: number;
  readonly #budget: UnreadBudget;

  constructor({ takeMs, unreadBytesMax }: Pick<HttpLimits, 'takeMs' | 'unreadBytesMax'>) {
    this.#takeMs = takeMs;
    this.#budget = new UnreadBudget({ bytesMax: unreadBytesMax });
  }

  /** To be called before anything is answered. */
  watch(response: ServerResponse): void {
    response.once('prefinish', () => {
      const { socket } = response;
      if (socket === null || socket.writableLength === 0) return;
      const cut = (): void => void socket.destroy();
      const unread = this.#budget.open(cut);
      unread.add(socket.writableLength);
      const timer = setTimeout(cut, this.#takeMs);
      response.once('close', () => {
        clearTimeout(timer);
        unread.close();
      });
    });
  }
}
