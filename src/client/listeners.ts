/** Tells every listener, in the order in which they came. What one throws is the process's: the others hear it all the same. */
export function tellAll<T>(listeners: Iterable<(news: T) => void>, news: T): void {
  for (const listener of listeners) {
    try {
      listener(news);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
