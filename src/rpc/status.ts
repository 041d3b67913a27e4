/** gRPC status codes (grpc.github.io, "Status codes and their use in gRPC"). */
export const rpcStatus = {
  ok: 0,
  canceled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type RpcStatusCode = (typeof rpcStatus)[keyof typeof rpcStatus];

/** A call's failure as the client will see it: the message is sent as it is. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: RpcStatusCode;

  constructor(code: RpcStatusCode, message: string) {
    super(message);
    this.code = code;
  }
}
