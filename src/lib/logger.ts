/**
 * What a part needs in order to log: one call per level, structured fields first, one static sentence second.
 * pino satisfies it. debug: per message; info: roles, membership, start, snapshot; warn: may heal; error: a
 * request or data is lost. Field names as in the code, never a secret.
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

function ignore(): void {}

/** Says nothing: for tests and for tools that print their own results. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
